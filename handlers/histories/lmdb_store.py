"""Histories in LMDB: a folder on this machine, which several processes open at once.

A read is a look into memory that the kernel maps; a commit is on disk before it is answered. What
may happen to the files while they are open is looked at before each transaction, since LMDB would
read on what is not there: that they were removed, replaced, cut off or overwritten.
"""

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import lmdb

from anirank.errors import HistoriesError, ServingError
from handlers.histories.commits import Commits, Write
from handlers.histories.record import SCHEMA, Change, DamagedError, Record, record_for
from handlers.histories.store import WRITE_S, unavailable

_DATA, _LOCK = "data.mdb", "lock.mdb"
_READERS = 1_022  # transactions that read at once, of all processes
# Beside what may be recorded: pages that changed and are not free yet, and those of a Forget, which
# a store that is full has to take as well.
_ROOM, _LEAST_ROOM = 0.25, 8 * 2**20
_MAGIC = (0xBEEFC0DE).to_bytes(4, sys.byteorder)  # of a meta page, 16 bytes into it
_MAGIC_AT = 16
_ID = 8  # bytes of a user id


@dataclass(frozen=True, eq=False)
class _Opened:
    """An environment and its databases, closed when nobody uses it any more.

    gone: of the users who were forgotten. file: what its data file is, by device and inode.
    descriptor: of the data file. page: bytes.
    """

    env: Any
    users: Any
    gone: Any
    file: tuple[int, int]
    descriptor: int
    page: int

    def __post_init__(self) -> None:
        # Not as the process ends, when a thread may wait in it for another's lock.
        weakref.finalize(self, _close, self.env, self.descriptor).atexit = False


class LmdbStore:
    """A store in a folder; see `Store`. Reads are for the thread of one event loop."""

    name = "lmdb"

    def __init__(
        self, folder: Path, size_mib: int, create: bool = True, lenient: bool = False
    ) -> None:
        """Open the store in `folder`, or make one there.

        size_mib: how much may be recorded; the file may become larger by `_ROOM`. create: whether
        one may be made. Raises HistoriesError where the folder holds something else, or a store of
        another schema, or one that is damaged; lenient: waits for another to stand there instead.
        """
        self._folder = folder
        self._data = folder / _DATA
        self._bytes = size_mib * 2**20
        self._opened: _Opened | None = None
        try:
            self._opened = _open(folder, self._bytes, create and not lenient)
        except HistoriesError:
            if not lenient:
                raise
        self._opening = threading.Lock()
        # The file and its bytes when it was last looked at; it never gets less.
        self._seen: tuple[tuple[int, int] | None, int] = (None, 0)
        self._forgotten: tuple[int, frozenset[int]] = (-1, frozenset())
        self._commits = Commits(self._commit)

    async def get(self, user_id: int) -> Record:
        """The record of a user; see `Store.get`. It does not wait."""
        try:
            of = self._checked()
            with of.env.begin() as transaction:
                kept = transaction.get(_key(user_id), db=of.users)
            return Record.from_bytes(kept)
        except (lmdb.Error, DamagedError, OSError) as error:
            self._fail(error)

    async def update(self, user_id: int, change: Change) -> Any:
        """Change the record of a user; see `Store.update`."""
        try:
            return await self._commits.write(user_id, change)
        except TimeoutError:
            raise unavailable(
                str(self._folder), f"locked by another process for {WRITE_S:g} s"
            ) from None

    async def forgotten(self) -> frozenset[int]:
        """The users who were forgotten; they are listed again only where there are more."""
        try:
            of = self._checked()
            with of.env.begin() as transaction:
                count = transaction.stat(of.gone)["entries"]
                if count != self._forgotten[0]:
                    keys = transaction.cursor(of.gone).iternext(values=False)
                    self._forgotten = count, frozenset(map(_user, keys))
        except (lmdb.Error, OSError) as error:
            self._fail(error)
        return self._forgotten[1]

    async def all(self) -> AsyncIterator[tuple[int, Record]]:
        """Every user with their record, as they are at one moment; see `Store.all`."""
        of = self._checked()
        try:
            with of.env.begin() as transaction:
                for key, kept in transaction.cursor(of.users):
                    yield _user(key), Record.from_bytes(kept)
        except (lmdb.Error, DamagedError) as error:
            raise HistoriesError(f"{self._folder}: damaged ({error})") from error

    async def close(self) -> None:
        """Close the files, once what is being written is."""
        await self._commits.close()
        self._opened = None

    def _checked(self) -> _Opened:
        """The environment, where its files are as it left them; opened again where others stand."""
        file, size = self._seen  # before the look: another thread may see it grow meanwhile
        try:
            found = self._data.stat()
        except FileNotFoundError:
            raise unavailable(str(self._folder), f"{_DATA} is gone") from None
        of = self._of((found.st_dev, found.st_ino))
        if of.file == file and found.st_size < size:
            raise unavailable(str(self._folder), f"{_DATA} was cut off, to {found.st_size} bytes")
        self._seen = of.file, found.st_size
        first = os.pread(of.descriptor, of.page + len(_MAGIC), _MAGIC_AT)  # of both meta pages
        if not (first.startswith(_MAGIC) and first.endswith(_MAGIC)):
            raise unavailable(str(self._folder), f"{_DATA} was overwritten")
        return of

    def _of(self, file: tuple[int, int]) -> _Opened:
        """The environment of the data file that stands there now."""
        with self._opening:
            if self._opened is None or self._opened.file != file:
                try:
                    opened = _open(self._folder, self._bytes, create=False)
                except HistoriesError as error:
                    raise unavailable(str(self._folder), f"other files, and {error}") from error
                self._opened, self._forgotten = opened, (-1, frozenset())
            return self._opened

    def _commit(self, batch: Sequence[Write]) -> None:
        """Write a batch; in the thread of commits."""
        try:
            self._write(batch)
        except lmdb.MapFullError:
            # What makes room, or takes next to none, is tried alone.
            for write in batch:
                try:
                    self._write([write])
                except lmdb.MapFullError:
                    write.answer = unavailable(str(self._folder), "full")
                except (lmdb.Error, OSError, ServingError) as error:
                    write.answer = self._failure(error)
        except (lmdb.Error, OSError) as error:
            raise self._failure(error) from error

    def _write(self, batch: Sequence[Write]) -> None:
        of = self._checked()
        answers: list[tuple[Write, Any]] = []
        with contextlib.suppress(lmdb.Error):
            of.env.reader_check()  # what processes that were killed left would keep pages from use
        with of.env.begin(write=True) as transaction:
            full = self._live(of, transaction) >= self._bytes
            for write in batch:
                if not write.waiting.done():  # or its caller was told otherwise, as this waited
                    answers.append((write, self._answer(of, transaction, write, full)))
        # On disk; but a file that was removed or replaced meanwhile is nobody's.
        self._checked_again(of)
        for write, answer in answers:
            write.answer = answer

    def _answer(self, of: _Opened, transaction: Any, write: Write, full: bool) -> Any:
        try:
            return _applied(of, transaction, write, full)
        except _FullError:
            return unavailable(str(self._folder), "full")
        except (ServingError, DamagedError) as error:
            return self._failure(error)

    def _checked_again(self, of: _Opened) -> None:
        found = self._data.stat()
        if of.file != (found.st_dev, found.st_ino):
            raise unavailable(str(self._folder), "replaced while it was written to")

    def _live(self, of: _Opened, transaction: Any) -> int:
        """Bytes of the pages in use."""
        pages = 0
        for database in (of.users, of.gone):
            stat = transaction.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * of.page)

    def _failure(self, error: Exception) -> ServingError:
        if isinstance(error, ServingError):
            return error
        reason = "damaged" if isinstance(error, DamagedError | lmdb.CorruptedError) else "failed"
        return unavailable(str(self._folder), f"{reason} ({error})")

    def _fail(self, error: Exception) -> NoReturn:
        raise self._failure(error) from error


def _close(env: Any, descriptor: int) -> None:
    os.close(descriptor)
    env.close()


class _FullError(Exception):
    """A record that would make a full store larger."""


def _applied(of: _Opened, transaction: Any, write: Write, full: bool) -> Any:
    """What a write is answered with, once the transaction is committed."""
    key = _key(write.user_id)
    before = transaction.get(key, db=of.users)
    was = record_for(write.change, before)
    record, answer = write.change(was)
    if record is None:
        return answer
    kept = record.to_bytes()
    if full and len(kept) > len(before or b"") and len(record.items):
        raise _FullError
    transaction.put(key, kept, db=of.users)
    if record.forgotten and not was.forgotten:
        transaction.put(key, b"", db=of.gone)
    return answer


def _open(folder: Path, size: int, create: bool) -> _Opened:
    """Open the environment in a folder; raises HistoriesError."""
    there = (folder / _DATA).is_file()
    if not there and not create:
        raise HistoriesError(f"{folder}: no store of histories, it has no {_DATA}")
    try:
        if not there:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            others = {path.name for path in folder.iterdir()} - {_DATA, _LOCK}
            if others:
                raise HistoriesError(f"{folder}: holds {min(others)}, and no store of histories")
        env = lmdb.open(
            str(folder),
            map_size=int(size + max(size * _ROOM, _LEAST_ROOM)),
            max_dbs=3,
            max_readers=_READERS,
            mode=0o600,
            create=create,
        )
    except (lmdb.Error, OSError) as error:
        raise HistoriesError(f"{folder}: cannot be opened as a store ({error})") from error
    try:
        return _databases(env, folder, there, create)
    except lmdb.Error as error:
        env.close()
        raise HistoriesError(f"{folder}: no store of histories, or damaged ({error})") from error
    except HistoriesError:
        env.close()
        raise


def _databases(env: Any, folder: Path, there: bool, create: bool) -> _Opened:
    env.reader_check()
    found = _schema(env) if there else None
    if found is None and not create:
        raise HistoriesError(f"{folder}: no store of histories, nothing was ever written to it")
    if found is None:
        found = _begin(env)
    if found != str(SCHEMA).encode():
        said = found.decode("ascii", "replace")
        raise HistoriesError(f"{folder}: schema {said}, this version of anirank reads {SCHEMA}")
    users, gone = (env.open_db(name, create=False) for name in (b"users", b"forgotten"))
    data = folder / _DATA
    stat = data.stat()
    descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    return _Opened(env, users, gone, (stat.st_dev, stat.st_ino), descriptor, env.stat()["psize"])


def _schema(env: Any) -> bytes | None:
    """The schema of a store, None where nothing was ever written to it."""
    if env.stat()["entries"] == 0:
        return None
    with env.begin() as transaction:
        meta = env.open_db(b"meta", transaction, create=False)
        return bytes(transaction.get(b"schema", b"none", db=meta))


def _begin(env: Any) -> bytes:
    """Make a new store; of several processes that do, one does. The schema it has."""
    with env.begin(write=True) as transaction:
        meta = env.open_db(b"meta", transaction)
        for name in (b"users", b"forgotten"):
            env.open_db(name, transaction)
        schema = str(SCHEMA).encode()
        transaction.put(b"schema", schema, db=meta, overwrite=False)
        return bytes(transaction.get(b"schema", db=meta))


def _key(user_id: int) -> bytes:
    return user_id.to_bytes(_ID, "big", signed=True)


def _user(key: bytes) -> int:
    return int.from_bytes(key, "big", signed=True)
