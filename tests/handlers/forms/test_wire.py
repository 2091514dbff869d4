"""What compiled code reads of a request's bytes is what protobuf reads."""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.contract import ranking_pb2 as pb
from handlers.forms.wire import read_apart

CANDIDATES = pb.RankRequest.CANDIDATE_IDS_FIELD_NUMBER
INT64 = st.integers(-(2**63), 2**63 - 1)
RATING = st.none() | st.floats(width=32)
ITEMS = st.lists(st.builds(lambda anime, rating: (anime, rating), INT64, RATING), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> pb.RankRequest:
    return pb.RankRequest(
        user_id=draw(st.none() | INT64),
        candidate_ids=draw(st.lists(INT64, max_size=8)),
        history=[pb.HistoryItem(anime_id=anime, rating=rating) for anime, rating in draw(ITEMS)],
        profile=draw(st.none() | st.just(pb.Profile(numbers={"days": 2.5}, categories={"a": "b"}))),
        top_k=draw(st.integers(0, 2**32 - 1)),
        model_version=draw(st.text(max_size=4)),
    )


# Of what protobuf allows, what its own writers do not write; and what it does not allow.
ODD = st.sampled_from(
    [
        b"\x20\x05",  # a candidate by itself
        b"\x22\x00",  # no candidates
        b"\x12\x00",  # an item of nothing
        b"\x12\x05\x15\x00\x00\x80\x3f",  # a rating without an id
        b"\x12\x07\x15\x00\x00\x80\x3f\x08\x01",  # a rating before the id
        b"\x12\x04\x08\x01\x08\x02",  # an id twice
        b"\x12\x04\x08\x01\x18\x02",  # an item with a field that nobody knows
        b"\x10\x05",  # the history as a number
        b"\x7a\x01\x00",  # a field that nobody knows
        b"\x7b\x7c",  # a group
        b"\xa2\x80\x80\x80\x00\x01\x07",  # a tag of five bytes
        b"\xa2\x80\x80\x80\x80\x00\x01\x07",  # and of six
        b"\x22\x86\x80\x80\x80\x80\x00\x01\x02\x03\x04\x05\x06",  # a length of six bytes
        b"\x22\x0a" + b"\xff" * 9 + b"\x01",
        b"\x22\x0a" + b"\xff" * 9 + b"\x02",
        b"\x42\x01\xff",  # a version that is not UTF-8
        b"\x22\x7f",
        b"\x12\xff",
        b"\x02\x01",
        b"\x00",
    ]
)


def merged(parts: list[bytes]) -> bytes:
    return b"".join(parts)


bodies = st.one_of(
    requests().map(lambda request: request.SerializeToString()),
    st.lists(requests().map(lambda request: request.SerializeToString()) | ODD).map(merged),
    st.binary(max_size=60),
)


def whole(body: bytes) -> Any:
    """What protobuf reads: the message less its long fields, and these; None where it is none."""
    try:
        request = pb.RankRequest.FromString(body)
    except DecodeError:
        return None
    candidates = list(request.candidate_ids)
    items = [(i.anime_id, i.rating if i.HasField("rating") else None) for i in request.history]
    request.ClearField("candidate_ids")
    request.ClearField("history")
    return request.SerializeToString(deterministic=True), candidates, items


@settings(deadline=None, max_examples=400)  # the first call compiles
@given(body=bodies)
def test_what_is_read_in_columns_is_what_protobuf_reads(body):
    found = read_apart(body, CANDIDATES)
    if found is None:
        return
    rest, columns = found
    read = whole(rest)
    expected = whole(body)
    if read is None or expected is None:
        assert read is expected
        return
    rest, candidates, items = read
    assert (candidates, items) == ([], [])
    ratings = [None if np.isnan(rating) else rating for rating in columns.history_ratings.tolist()]
    columned = list(zip(columns.history_ids.tolist(), ratings, strict=True))
    assert (rest, columns.candidate_ids.tolist(), columned) == expected


@settings(deadline=None)
@given(request=requests())
def test_what_protobuf_writes_is_read_in_columns(request):
    nan = any(item.HasField("rating") and np.isnan(item.rating) for item in request.history)
    found = read_apart(request.SerializeToString(), CANDIDATES)
    bare = any(not item.anime_id for item in request.history)  # whose id is not written
    assert (found is None) is (nan or bare)
