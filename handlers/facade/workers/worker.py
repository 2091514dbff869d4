"""One of several processes that share a port: what `workers` runs."""

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

from anirank.errors import ServingError
from handlers.facade.settings import Settings


def main() -> NoReturn:
    """Serve what the parent says on standard input; tell it by a pipe what it should know.

    Both as JSON: the settings and the files of the pipes; and what to say once requests are
    answered, or why there is nothing to say.
    """
    asked = json.load(sys.stdin)
    settings = Settings.read(asked["settings"])

    def tell(**told: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(asked["pipe"], json.dumps(told).encode())

    code = 1
    try:
        threading.Thread(target=_end_with, args=(asked["lifeline"],), daemon=True).start()
        from handlers.facade import process

        process.serve(settings, lambda line: tell(said=line), worker=True, lenient=asked["lenient"])
        code = 0
    except ServingError as error:
        tell(error=str(error))
        code = 2
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # no thread of a batch that was cut off is waited for


def _end_with(lifeline: int) -> None:
    """End this process when the parent does, however it does: nobody else holds the other end."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
