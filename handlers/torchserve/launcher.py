"""The program that starts TorchServe, and ends it with who has started both.

It is run by its path with TorchServe's own Python, which has nothing of this repository.
"""

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run `ts.model_server`, and end with its whole process group when standard input ends.

    Nobody writes there: it ends with the process that holds its other end, however that ends.
    """
    held = os.dup(0)  # which Java and its workers do not inherit
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with_the_parent, args=(held,), daemon=True).start()
    del sys.path[0]  # this folder: its modules are named as others' may be
    runpy.run_module("ts.model_server", run_name="__main__", alter_sys=True)


def _end_with_the_parent(held: int) -> None:
    os.read(held, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
