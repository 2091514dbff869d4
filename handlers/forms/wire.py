"""The two long fields of a request, read from its bytes into arrays by compiled code.

protobuf makes an object of every item of a history; of a hundred items these cost ten times what
the rest of the message does. Here the usual shape of a request is taken apart
(https://protobuf.dev/programming-guides/encoding): packed candidates, and items that are an id and
a rating in this order. What is left is a message for protobuf, and so is all of any other request.
"""

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled_to_the_letter
from handlers.engine.query import OTHER_BYTES
from handlers.forms.messages import Columns

HISTORY = 2  # the number of the field in RankRequest and in RecommendRequest
LONGEST = 1 << 18  # bytes; a longer message is protobuf's, which needs less room for it
_LONGEST_TAG = 5  # bytes of a tag or of a length: more are no protobuf

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_ANIME_ID, _RATING = 1 << 3 | _VARINT, 2 << 3 | _FIXED32  # the tags of a HistoryItem
_NO_END = -1
# The bits of a float32: those of its magnitude, of infinity, above which there is no number, and
# of one that is none.
_MAGNITUDE, _INFINITY, _NAN = 0x7FFFFFFF, 0x7F800000, 0x7FC00000


def read_apart(body: bytes, candidates: int) -> tuple[bytes, Columns] | None:
    """As `messages.ReadApart` says."""
    if len(body) > LONGEST:
        return None
    usual, ids, watched, ratings, rest = take_apart(np.frombuffer(body, np.uint8), candidates)
    if not usual:
        return None
    if len(body) > OTHER_BYTES:  # each is a part of an array for eight times the whole message
        ids, watched, ratings = ids.copy(), watched.copy(), ratings.copy()
    return rest.tobytes(), Columns(ids, watched, ratings)


@compiled_to_the_letter
def take_apart(
    body: NDArray[np.uint8], candidates: int
) -> tuple[bool, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]:
    """Take a request's bytes apart; candidates: the number of their field, 0 where it has none.

    Whether it has the shape that is read here, without which the others mean nothing; int64[N]
    candidates, int64[H] history and its float32[H] ratings; uint8[M], all other fields.
    """
    size = len(body)
    ids, watched = np.empty(size, np.int64), np.empty(size // 2 + 1, np.int64)
    ratings, rest = np.empty(size // 2 + 1, np.uint32), np.empty(size, np.uint8)
    found = items = left = at = 0
    usual = True
    while usual and at < size:
        began = at
        tag, at = varint(body, at, size)
        field, kind = tag >> 3, tag & 7
        end = skip(body, at, size, kind)
        if end == _NO_END or at - began > _LONGEST_TAG or field < 1 or tag >> 32:
            usual = False
        elif kind == _BYTES and field == HISTORY:
            _, at = varint(body, at, end)
            usual, watched[items], ratings[items] = history_item(body, at, end)
            items += 1
        elif kind == _BYTES and field == candidates:
            _, at = varint(body, at, end)
            while usual and at < end:
                ids[found], at = varint(body, at, end)
                usual = at != _NO_END
                found += 1
        else:
            usual = field != candidates  # each for itself, which nobody sends any more
            rest[left : left + end - began] = body[began:end]
            left += end - began
        at = end
    rated = ratings[:items].view(np.float32)
    return usual, ids[:found], watched[:items], rated, rest[:left]


@compiled_to_the_letter
def history_item(body: NDArray[np.uint8], at: int, end: int) -> tuple[bool, int, int]:
    """Whether the item is as usual, its id and the bits of its rating."""
    if at >= end or body[at] != _ANIME_ID:
        return False, 0, _NAN
    anime_id, at = varint(body, at + 1, end)
    if at == end:
        return True, anime_id, _NAN
    if at == _NO_END or at + 5 != end or body[at] != _RATING:
        return False, 0, _NAN
    bits = 0
    for byte in range(4):
        bits |= int(body[at + 1 + byte]) << (8 * byte)
    return bits & _MAGNITUDE <= _INFINITY, anime_id, bits


@compiled_to_the_letter
def varint(body: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """The int64 at a place and the place behind it, which is below 0 where there is none."""
    value, shift = 0, 0
    while at < end and shift < 64:
        byte = int(body[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # Of a tenth byte protobuf takes one bit.
            return (value, at) if shift < 63 or byte < 2 else (0, _NO_END)
        shift += 7
    return 0, _NO_END


@compiled_to_the_letter
def skip(body: NDArray[np.uint8], at: int, size: int, kind: int) -> int:
    """The place behind a value of a wire type, below 0 where it does not end within `size`."""
    if at == _NO_END:
        return _NO_END
    if kind == _VARINT:
        _, end = varint(body, at, size)
        return end
    if kind == _FIXED64:
        end = at + 8
    elif kind == _FIXED32:
        end = at + 4
    elif kind == _BYTES:
        length, behind = varint(body, at, size)
        if behind == _NO_END or behind - at > _LONGEST_TAG or length < 0 or length > size:
            return _NO_END
        end = behind + length
    else:
        return _NO_END
    return end if end <= size else _NO_END
