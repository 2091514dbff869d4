"""Where commands print, and what they end with."""

from rich.console import Console

INTERRUPTED = 130  # the exit code of what Ctrl-C ended, as shells have it

console = Console(highlight=False)
stderr = Console(
    stderr=True, highlight=False
)  # for what is on its way, so that results stand alone
