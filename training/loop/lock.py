"""One training at a time in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anirank.errors import RunError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process while entered; it is made, and removed if left empty.

    Raises RunError where another process keeps it, or it cannot be made.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RunError(f"{folder}: no folder for a run: {error.strerror}") from None
    try:
        _lock(folder, descriptor)
        yield
    finally:
        with suppress(OSError):  # something is in it
            for each in made:
                each.rmdir()
        os.close(descriptor)  # which ends the lock


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{folder}: another training is writing here; wait for its end, or name a new folder"
        ) from None
    except OSError:
        pass  # a file system without locks
