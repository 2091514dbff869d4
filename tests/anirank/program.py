"""The command line as a program of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def anirank(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [sys.executable, "-m", "anirank", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@contextmanager
def facade(store: Path, *options: str | Path) -> Iterator[str]:
    """Serves while it is entered; the address."""
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store)]
    command += ["--address", "127.0.0.1:0", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r" on (\S+),", process.stdout.readline())
            assert found is not None, "the façade did not start"
            yield found[1]
        finally:
            process.terminate()
            assert process.wait(30) == 0
