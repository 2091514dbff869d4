"""What is recorded of one user, how it changes, and the bytes that a store keeps of it."""

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery

SCHEMA = 1  # of a store; raised when a record written before can no longer be read
REMEMBERED = 64  # request ids of a user: one of them that comes again is not counted again
LONGEST_REQUEST_ID = 128  # bytes

# An anime of a record: MyAnimeList id; rating, NaN = not rated; milliseconds since 1970 (UTC).
ITEM = np.dtype([("anime_id", "<i4"), ("rating", "<f4"), ("time_ms", "<i8")])
# Mark of the change, CRC-32 of what follows, flags, request ids, items.
_HEAD = struct.Struct("<8sIB3xII")
MARK = 8  # bytes in front that are others after each change
_FORGOTTEN = 1
_DIGEST = 8  # bytes of a request id

Items = NDArray[np.void]


class DamagedError(ValueError):
    """Bytes that are no record."""


def _no_items() -> Items:
    return np.empty(0, ITEM)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What is recorded of a user.

    items: ITEM[R], each anime once, the latest last. request_ids: digests of the last that were
    counted, the latest last. forgotten: what models store of the user is not used any more.
    """

    items: Items = field(default_factory=_no_items)
    request_ids: bytes = b""
    forgotten: bool = False

    @property
    def anime_ids(self) -> NDArray[np.int64]:
        """int64[R]."""
        return self.items["anime_id"].astype(np.int64)

    @property
    def ratings(self) -> NDArray[np.float32]:
        """float32[R], NaN = not rated."""
        return self.items["rating"].astype(np.float32)

    def to_bytes(self) -> bytes:
        """What a store keeps; never the same twice in its first `MARK` bytes."""
        body = self.request_ids + self.items.tobytes()
        counts = len(self.request_ids) // _DIGEST, len(self.items)
        head = _HEAD.pack(b"", 0, _FORGOTTEN * self.forgotten, *counts)[MARK + 4 :]
        checksum = zlib.crc32(body, zlib.crc32(head))
        return os.urandom(MARK) + checksum.to_bytes(4, "little") + head + body

    @classmethod
    def from_bytes(cls, kept: bytes | None) -> "Record":
        """The record in the bytes, an empty one of None; raises DamagedError."""
        if kept is None:
            return cls()
        if len(kept) < _HEAD.size:
            raise DamagedError(f"{len(kept)} bytes, a record has {_HEAD.size} or more")
        _, checksum, flags, requests, items = _HEAD.unpack_from(kept)
        middle = _HEAD.size + _DIGEST * requests
        if len(kept) != middle + ITEM.itemsize * items:
            raise DamagedError(
                f"{len(kept)} bytes do not hold {requests} request ids, {items} items"
            )
        if zlib.crc32(memoryview(kept)[MARK + 4 :]) != checksum:
            raise DamagedError("the checksum of a record is not its own")
        listed = np.frombuffer(kept, ITEM, items, middle)
        return cls(listed, kept[_HEAD.size : middle], bool(flags & _FORGOTTEN))


class Recorded(NamedTuple):
    """How many anime are recorded of a user after a write; whether that had been counted before."""

    recorded: int
    repeated: bool


class Changed(NamedTuple):
    """A record after a change, None where it stays as it is, and what the change answers."""

    record: Record | None
    answer: Any


# What a write does to the record of a user; the same whenever and however often it is applied.
Change = Callable[[Record], Changed]


def items_of(
    anime_ids: NDArray[np.int64], ratings: NDArray[np.float32], time_ms: int | NDArray[np.int64]
) -> Items:
    """ITEM[N] of N anime with ratings, NaN = not rated, that were recorded at a time."""
    items = np.empty(len(anime_ids), ITEM)
    items["anime_id"], items["rating"], items["time_ms"] = anime_ids, ratings, time_ms
    return items


def recording(items: Items, request_id: str, most: int) -> Change:
    """Takes in items, of up to `most` of a user; not again under a request id that was counted.

    An anime that stands twice counts as it stands last. The change raises InvalidQuery where there
    is no room, and nothing of it is taken then.
    """
    digest = blake2b(request_id.encode(), digest_size=_DIGEST).digest() if request_id else b""
    new = _latest(items)

    def change(record: Record) -> Changed:
        if digest and _holds(record.request_ids, digest):
            return Changed(None, Recorded(len(record.items), True))
        kept = np.concatenate((record.items[_others(record.items, new)], new))
        if len(kept) > most:
            more = len(kept) - len(record.items)
            raise InvalidQuery(
                "items",
                f"{more} more anime, and {len(record.items)} are recorded of the user already, "
                f"should be {most} at most",
            )
        ids = (record.request_ids + digest)[-REMEMBERED * _DIGEST :]
        return Changed(Record(kept, ids, record.forgotten), Recorded(len(kept), False))

    return change


def forgetting(record: Record) -> Changed:
    """Leaves nothing of a record but that its user was forgotten; answers how many items it had."""
    return Changed(Record(forgotten=True), len(record.items))


def record_for(change: Change, kept: bytes | None) -> Record:
    """The record in the bytes that a change is of; one that is damaged can still be forgotten."""
    try:
        return Record.from_bytes(kept)
    except DamagedError:
        if change is forgetting:
            return Record()
        raise


def importing(items: Items, forgotten: bool) -> Change:
    """Takes in what another store had; of an anime that both have the later, whatever its place.

    forgotten: the other store had forgotten the user, so what is here from before goes.
    """

    def change(record: Record) -> Changed:
        here = _no_items() if forgotten else record.items
        both = np.concatenate((here, items))
        both = _latest(both[np.argsort(both["time_ms"], kind="stable")])
        ids = b"" if forgotten else record.request_ids
        return Changed(Record(both, ids, record.forgotten or forgotten), len(items))

    return change


def _holds(request_ids: bytes, digest: bytes) -> bool:
    return any(
        request_ids[at : at + _DIGEST] == digest for at in range(0, len(request_ids), _DIGEST)
    )


def _others(items: Items, new: Items) -> NDArray[np.bool_]:
    """Which items are of anime that are not among the new, bool[R]."""
    ids = items["anime_id"]
    if len(new) == 1:  # as most are, and it takes a tenth of the time
        apart: NDArray[np.bool_] = ids != new["anime_id"][0]
        return apart
    return ~np.isin(ids, new["anime_id"])


def _latest(items: Items) -> Items:
    """Each anime once, as and where it stands last."""
    if len(items) < 2:
        return items
    _, from_the_end = np.unique(items["anime_id"][::-1], return_index=True)
    return items[np.sort(len(items) - 1 - from_the_end)]
