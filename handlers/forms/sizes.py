"""How much of what a message holds, counted before anything is made of it.

protobuf makes an object of each entry of a map and of each item of a history. Of a message that is
nothing else these cost tens of milliseconds, in which nobody else is answered; to count them here
costs one, and ends at the first that is too many
(https://protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Iterator

import numpy as np

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import OTHER_BYTES, Limits

_HISTORY = pb.RankRequest.HISTORY_FIELD_NUMBER  # and of a RecommendRequest
_FILTER = pb.RankRequest.FILTER_FIELD_NUMBER  # and of a RecommendRequest
_WITHOUT_IDS = pb.Filter.WITHOUT_IDS_FIELD_NUMBER
_ONLY_IDS, _IDS = pb.Filter.ONLY_IDS_FIELD_NUMBER, pb.AnimeIds.IDS_FIELD_NUMBER
_OF_A_STREAM = {  # the number of the request's field, and of the candidates in it
    pb.RankStreamRequest.RANK_FIELD_NUMBER: pb.RankRequest.CANDIDATE_IDS_FIELD_NUMBER,
    pb.RankStreamRequest.RECOMMEND_FIELD_NUMBER: 0,
}
_ASKED_ABOUT = pb.SimilarRequest.ANIME_IDS_FIELD_NUMBER
_ITEMS = pb.RecordWatchedRequest.ITEMS_FIELD_NUMBER
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_OF_IDS = (_BYTES, _VARINT)
_OTHERS = "request"


def check(body: bytes, candidates: int, limits: Limits) -> None:
    """Raise InvalidQuery where a request holds more than `limits` let it.

    candidates: the number of the field that has them, or 0. What is no message passes: it is
    protobuf's to refuse.
    """
    if len(body) > OTHER_BYTES:
        _check(memoryview(body), candidates, limits)


def check_similar(body: bytes, limits: Limits) -> None:
    """The same of a SimilarRequest."""
    if len(body) > OTHER_BYTES:
        _check(memoryview(body), _ASKED_ABOUT, limits, ("anime_ids", limits.history))


def check_items(body: bytes, limits: Limits) -> None:
    """The same of a RecordWatchedRequest."""
    if len(body) > OTHER_BYTES:
        items = others = 0
        for number, kind, _, whole in _fields(memoryview(body)):
            if number == _ITEMS and kind == _BYTES:
                items += 1
                if items > limits.history:
                    raise _too_many("items", 1, limits.history)
            else:
                others = _bounded(others + len(whole))


def check_streamed(body: bytes, limits: Limits) -> None:
    """The same of a RankStreamRequest."""
    if len(body) > OTHER_BYTES:
        others = 0
        for number, kind, content, whole in _fields(memoryview(body)):
            if number in _OF_A_STREAM and kind == _BYTES:
                _check(content, _OF_A_STREAM[number], limits)
            else:
                others = _bounded(others + len(whole))


def without_request(body: bytes) -> bytes:
    """What is left of a RankStreamRequest without the request in it: its id, and its timeout."""
    fields = _fields(memoryview(body))
    return b"".join(whole for number, _, _, whole in fields if number not in _OF_A_STREAM)


def _check(
    body: memoryview, candidates: int, limits: Limits, ids: tuple[str, int] | None = None
) -> None:
    """ids: name and limit of the field of the number `candidates`, where it is another one."""
    name_of_ids, most_ids = ids or ("candidate_ids", limits.candidates)
    most = {
        name_of_ids: most_ids,
        "history": limits.history,
        "filter.without_ids": limits.filter_ids,
        "filter.only_ids": limits.filter_ids,
        _OTHERS: OTHER_BYTES,
    }
    found = dict.fromkeys(most, 0)
    for name, count in _parts(body, candidates, name_of_ids):
        found[name] += count
        if found[name] > most[name]:
            _bounded(found[_OTHERS])
            raise _too_many(name, int(name == name_of_ids), most[name])


def _parts(body: memoryview, candidates: int, ids: str) -> Iterator[tuple[str, int]]:
    """What a request holds, part by part: the field, and how many entries; of all others, bytes."""
    for number, kind, content, whole in _fields(body):
        if number == _HISTORY and kind == _BYTES:
            yield "history", 1
        elif number == candidates and kind in _OF_IDS:
            yield ids, _ids(kind, content)
        elif number == _FILTER and kind == _BYTES:
            yield _OTHERS, len(whole) - len(content)
            yield from _filter_parts(content)
        else:
            yield _OTHERS, len(whole)


def _filter_parts(body: memoryview) -> Iterator[tuple[str, int]]:
    for number, kind, content, whole in _fields(body):
        if number == _WITHOUT_IDS and kind in _OF_IDS:
            yield "filter.without_ids", _ids(kind, content)
        elif number == _ONLY_IDS and kind == _BYTES:
            yield _OTHERS, len(whole) - len(content)
            for inner, of, ids, all_of_it in _fields(content):
                is_ids = inner == _IDS and of in _OF_IDS
                yield ("filter.only_ids", _ids(of, ids)) if is_ids else (_OTHERS, len(all_of_it))
        else:
            yield _OTHERS, len(whole)


def _ids(kind: int, content: memoryview) -> int:
    """How many ids a field has: packed, or one of them."""
    return int((np.frombuffer(content, np.uint8) < 0x80).sum()) if kind == _BYTES else 1


def _bounded(others: int) -> int:
    if others > OTHER_BYTES:
        raise InvalidQuery(
            "request",
            f"more than {OTHER_BYTES} bytes are neither candidates nor history nor a filter's ids, "
            "should be fewer",
        )
    return others


def _too_many(field: str, least: int, most: int) -> InvalidQuery:
    return InvalidQuery(field, f"more than {most} given, should be {least} to {most}")


def _fields(body: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
    """Number, wire type, content and the whole of each field, up to what is none."""
    at, end = 0, len(body)
    while at < end:
        began = at
        try:
            tag, at = _varint(body, at)
            kind = tag & 7
            if kind == _BYTES:
                length, at = _varint(body, at)
            elif kind == _VARINT:
                length = _varint(body, at)[1] - at
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                return
        except IndexError:
            return
        content = body[at : at + length]
        at += length
        yield tag >> 3, kind, content, body[began:at]


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends; raises IndexError where it does not."""
    value = body[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = body[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise IndexError
