"""One training, or one export, at a time in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anirank.errors import RunError


@contextmanager
def locked(folder: Path, work: str = "training") -> Iterator[None]:
    """Keep a folder to this process while entered; it is made, and removed if left empty.

    work: what is done there, by which another process is told why it cannot.

    Raises RunError where another process keeps it, or it cannot be made.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RunError(f"{folder}: no folder to write to: {error.strerror}") from None
    try:
        _lock(folder, descriptor, work)
        yield
    finally:
        with suppress(OSError):  # something is in it
            for each in made:
                each.rmdir()
        os.close(descriptor)  # which ends the lock


def _lock(folder: Path, descriptor: int, work: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"{folder}: another {work} is writing here; wait for its end, or name a new folder"
        ) from None
    except OSError:
        pass  # a file system without locks
