"""Messages counted before they are read: whatever holds too much is refused, and nothing else."""

import contextlib
import time

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import OTHER_BYTES, Limits
from handlers.forms import sizes

RANK = pb.RankRequest.CANDIDATE_IDS_FIELD_NUMBER
LIMITS = Limits()
HISTORY = [pb.HistoryItem(anime_id=2**63 - 1, rating=9.5) for _ in range(LIMITS.history)]
LARGEST = pb.RankRequest(
    user_id=-1,
    candidate_ids=[-(2**63)] * LIMITS.candidates,
    history=HISTORY,
    model_version="v" * 15_000,
    filter=pb.Filter(
        genres=pb.ValueFilter(any=["Action"] * LIMITS.filter_values),
        without_ids=[-1] * LIMITS.filter_ids,
        only_ids=pb.AnimeIds(ids=[-1] * LIMITS.filter_ids),
    ),
)
BODY = LARGEST.SerializeToString()


def test_the_largest_request_within_the_limits_passes_and_fits_a_message():
    assert len(BODY) <= LIMITS.message_bytes
    sizes.check(BODY, RANK, LIMITS)
    streamed = pb.RankStreamRequest(id=2**64 - 1, rank=LARGEST, timeout=Duration(seconds=10**9))
    sizes.check_streamed(streamed.SerializeToString(), LIMITS)


@pytest.mark.parametrize(
    "field",
    ["candidate_ids", "history", "filter.without_ids", "filter.only_ids", "request"],
)
def test_one_more_than_the_limits_let_in_is_named(field):
    more = pb.RankRequest()
    more.CopyFrom(LARGEST)
    if field == "candidate_ids":
        more.candidate_ids.append(1)
    elif field == "history":
        more.history.add(anime_id=1)
    elif field == "filter.without_ids":
        more.filter.without_ids.append(1)
    elif field == "filter.only_ids":
        more.filter.only_ids.ids.append(1)
    else:
        more.model_version = "v" * OTHER_BYTES
    with pytest.raises(InvalidQuery) as caught:
        sizes.check(more.SerializeToString(), RANK, LIMITS)
    assert caught.value.field == field
    with pytest.raises(InvalidQuery):
        sizes.check_streamed(pb.RankStreamRequest(id=7, rank=more).SerializeToString(), LIMITS)


def test_candidates_each_for_itself_are_counted_too():
    sizes.check(b"\x20\x01" * LIMITS.candidates, RANK, LIMITS)
    with pytest.raises(InvalidQuery, match="candidate_ids: more than 25000"):
        sizes.check(b"\x20\x01" * (LIMITS.candidates + 1), RANK, LIMITS)


def test_who_asked_is_known_without_the_request():
    streamed = pb.RankStreamRequest(id=7, rank=LARGEST, timeout=Duration(seconds=3))
    left = pb.RankStreamRequest.FromString(sizes.without_request(streamed.SerializeToString()))
    assert left == pb.RankStreamRequest(id=7, timeout=Duration(seconds=3))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 300))
def test_bytes_that_are_no_message_end_the_count(noise, kept):
    body = BODY[:kept] + noise + BODY[kept:]
    for check in (
        lambda: sizes.check(body, RANK, LIMITS),
        lambda: sizes.check_streamed(body, LIMITS),
    ):
        with contextlib.suppress(InvalidQuery):
            check()


def test_counting_ends_at_the_first_that_is_too_many():
    body = b"\x12\x00" * (LIMITS.message_bytes // 2)
    began = time.process_time()
    with pytest.raises(InvalidQuery, match="history: more than 2000 given"):
        sizes.check(body, RANK, LIMITS)
    assert time.process_time() - began < 0.05
