"""The program that a worker is: `python -m handlers.facade.workers.program`."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

from anirank.errors import AnirankError, naming_the_extra
from handlers.facade.settings import Settings
from handlers.facade.workers.worker import BEAT_S


def main() -> NoReturn:
    """Serve what the parent asks for in a line of standard input; report to it in lines.

    Both are JSON: the settings; and what to announce once requests are answered, or why there is
    nothing to. Standard output is for the reports alone: what else is printed goes to standard
    error.
    """
    asked = json.loads(sys.stdin.readline())
    out = os.dup(1)
    reports = os.fdopen(out, "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**told: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(told), file=reports, flush=True)

    def live() -> None:
        with contextlib.suppress(OSError):  # a parent that reads nothing holds nobody up
            os.set_blocking(out, False)
            os.write(out, b"{}\n")

    code = 1
    try:
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        with naming_the_extra():
            from handlers.facade import process

            process.serve(
                Settings.model_validate_json(asked["settings"]),
                lambda line: report(line=line),
                live=(live, BEAT_S),
                worker=True,
                lenient=asked["lenient"],
            )
        code = 0
    except AnirankError as error:
        report(error=str(error))
        code = 2
    except BaseException:
        traceback.print_exc()
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # no thread of a batch that was cut off is waited for


def _end_with_the_parent() -> None:
    """End this process when the parent does, however it does: nobody else writes to it."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
