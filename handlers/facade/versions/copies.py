"""Private copies of the versions that are served, which nobody else can change or cut short.

What is mapped from a file is gone with it: a process that reads behind the end of a file that was
cut short is ended by SIGBUS. A copy is in memory once for all processes that map it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from anirank.errors import SettingsError
from handlers.folders import is_private, lock, make

PREFIX = "anirank-bundles-"


class Copies:
    """A folder that this user alone can enter, for the copies that one or more processes serve.

    with Copies() as copies:
        scratch = copies.scratch()
        copy = copies.keep(scratch, "name")

    folder: where the copies are. turn: the folder in it that those who make copies take turns at.

    Files of a copy that is dropped stay for whoever has opened them. The last process to let go of
    the folder empties it; after one that was killed, the next that starts does.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Use a folder in `folder`, that of another `Copies`, or one of its own in TMPDIR.

        Raises SettingsError where others can enter it, or there is none to be had.
        """
        try:
            if folder is None:
                self.folder, descriptor = make(PREFIX)
            else:
                # What is in it is removed: never in a folder that somebody else has made.
                ours = folder.name.startswith(PREFIX)
                self.folder = folder if ours else folder / f"{PREFIX}shared"
                descriptor = _shared_folder(self.folder)
            self.turn = self.folder / "turn"
            self.turn.mkdir(exist_ok=True)
        except OSError as error:
            where = folder or "TMPDIR"
            raise SettingsError(
                f"{where}: takes no copies of what is served ({error.strerror}); --copies should "
                "name a folder that does, or --map-store serve without"
            ) from error
        self._let_go = weakref.finalize(self, _let_go, self.folder, descriptor, folder is None)

    def __enter__(self) -> "Copies":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; it is emptied where nobody else holds it."""
        self._let_go()

    def scratch(self) -> Path:
        """A new folder to make a copy in."""
        return Path(tempfile.mkdtemp(prefix=".", dir=self.folder))

    def find(self, name: str) -> Path | None:
        """The copy of a name, if there is one."""
        path = self.folder / name
        return path if path.is_dir() else None

    def keep(self, scratch: Path, name: str) -> Path:
        """Give a copy its name; where another process was faster, that one's copy is kept."""
        path = self.folder / name
        try:
            scratch.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            self.drop(scratch)
        return path

    def drop(self, path: Path) -> None:
        """Remove a copy, or what was to become one."""
        shutil.rmtree(path, ignore_errors=True)


def _shared_folder(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(folder):
        raise SettingsError(f"{folder}: should be a folder of this user alone, of mode 0700")
    descriptor = os.open(folder, os.O_RDONLY)
    if lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _empty(folder)
    lock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _let_go(folder: Path, descriptor: int, own: bool) -> None:
    if own or lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _empty(folder)
    if own:
        with contextlib.suppress(OSError):
            folder.rmdir()
    os.close(descriptor)


def _empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            shutil.rmtree(path, ignore_errors=True)
