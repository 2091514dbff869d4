"""Temporary folders that are gone after their processes, however these end.

A process locks its folder for as long as it lives; what one that was killed has left the next one
removes.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def make(prefix: str, within: Path | None = None) -> tuple[Path, int]:
    """A new folder of mode 0700 in `within`, by default TMPDIR, and the descriptor that holds it.

    Removes those of the same prefix and user that nobody holds any more. Raises OSError.
    """
    within = within or Path(tempfile.gettempdir())
    for left in within.glob(f"{prefix}*"):
        _clear_away(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
        descriptor = os.open(folder, os.O_RDONLY)
        lock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, folder):
            return folder, descriptor
        os.close(descriptor)  # another process cleared it away before it was locked


def remove(folder: Path, descriptor: int) -> None:
    """Remove a folder of `make`, and let go of it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


@contextlib.contextmanager
def scratch(prefix: str, within: Path | None = None) -> Iterator[Path]:
    """A folder as `make` makes it, until it is left."""
    folder, descriptor = make(prefix, within)
    try:
        yield folder
    finally:
        remove(folder, descriptor)


def lock(descriptor: int, how: int) -> bool:
    """Whether a folder is locked now; never on a file system without locks."""
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def is_private(folder: Path) -> bool:
    """Whether it is a folder that this user alone can enter; raises OSError where there is none."""
    found = folder.lstat()
    ours = found.st_uid == os.geteuid()
    return stat.S_ISDIR(found.st_mode) and ours and not found.st_mode & 0o077


def _clear_away(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if not is_private(folder):
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        if lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except OSError:
        return False
