"""A line in which callers take turns, whatever each of them has put into it."""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class _Called(Protocol):
    @property
    def caller(self) -> Hashable: ...


Entry = TypeVar("Entry", bound=_Called)


class Line(Generic[Entry]):
    """First come, first served for one caller; the callers one by one in turns.

    So who has a hundred entries in it lets each other caller go after at most one of them.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, deque[Entry]] = {}  # by caller, who is next first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for entries in self._entries.values():
            yield from entries

    @property
    def next(self) -> Entry:
        """The entry whose turn it is; there must be one."""
        return next(iter(self._entries.values()))[0]

    def append(self, entry: Entry) -> None:
        """Put an entry behind those of its caller."""
        self._entries.setdefault(entry.caller, deque()).append(entry)
        self._count += 1

    def popleft(self) -> Entry:
        """Take out the next entry; its caller's turn comes again after all others'."""
        caller, entries = next(iter(self._entries.items()))
        del self._entries[caller]
        entry = entries.popleft()
        if entries:
            self._entries[caller] = entries
        self._count -= 1
        return entry

    def remove(self, entry: Entry) -> bool:
        """Take out an entry, wherever it stands; False where it is not here."""
        entries = self._entries.get(entry.caller)
        if entries is None or entry not in entries:
            return False
        entries.remove(entry)
        if not entries:
            del self._entries[entry.caller]
        self._count -= 1
        return True
