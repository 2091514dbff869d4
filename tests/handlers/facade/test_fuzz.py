"""Whatever is sent, the answer is a reply that holds together, or an error that says why not."""

import json
import math
import re

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import Query
from handlers.torchserve.body import Body
from tests.running.calls import status_of_call

SERVICE = "/anime.ranking.v1.RankingService"
# Where in a request something can be wrong.
PATH = re.compile(
    r"request|candidate_ids|anime_ids|top_k|objective|likeness|model_version|history(\[\d+\]\.rating)?"
    r'|profile\.(numbers|categories)\["[\s\S]*"\]'
)
INT64 = st.integers(-(2**63), 2**63 - 1)
IDS = st.one_of(st.integers(0, 64).map(lambda i: 3 * i), st.integers(-3, 300), INT64)
FLOAT32 = st.floats(width=32)
TEXT = st.text(max_size=20)
# Enough to meet each kind of fault hundreds of times, and within half a minute in all.
MANY = settings(max_examples=300, deadline=None, derandomize=True)
SOME = settings(max_examples=150, deadline=None, derandomize=True)


def optional(strategy):
    return st.none() | strategy


HISTORY = st.lists(
    st.builds(
        pb.HistoryItem,
        anime_id=IDS,
        rating=optional(st.one_of(st.floats(1, 10, width=32), st.floats(1, 10, width=32), FLOAT32)),
    ),
    max_size=12,
)
PROFILES = st.builds(
    pb.Profile,
    numbers=st.dictionaries(st.just("days_watched") | TEXT, FLOAT32, max_size=2),
    categories=st.dictionaries(
        st.just("gender") | TEXT, st.sampled_from(["Male", "Female"]) | TEXT, max_size=2
    ),
)
USUAL = {
    "user_id": optional(st.integers(0, 45).map(lambda i: 10 * i) | INT64),
    "history": HISTORY,
    "profile": st.none() | st.none() | PROFILES,
    "top_k": st.integers(0, 70) | st.integers(0, 2**32 - 1),
    "objective": st.integers(0, 3) | st.integers(-(2**31), 2**31 - 1),
    "explain": st.booleans(),
    "model_version": st.sampled_from(["", "", "", "1"]) | TEXT,
}
RANKS = st.builds(pb.RankRequest, candidate_ids=st.lists(IDS, max_size=80), **USUAL)
RECOMMENDS = st.builds(
    pb.RecommendRequest, include_seen=st.booleans(), include_adult=st.booleans(), **USUAL
)


@pytest.fixture(scope="module")
def facade(serving, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "stderr"
    with serving(log) as facade:
        yield facade
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def channel(facade):
    with grpc.insecure_channel(facade.address) as channel:
        yield channel


def ask(channel, method: str, body: bytes) -> bytes | error_details_pb2.BadRequest:
    """The reply, or what the caller did wrong; anything else fails."""
    try:
        return channel.unary_unary(f"{SERVICE}/{method}")(body, timeout=60)
    except grpc.RpcError as error:
        caught = error
    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT, caught
    [detail] = status_of_call(caught).details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    assert bad.field_violations
    for violation in bad.field_violations:
        assert PATH.fullmatch(violation.field), violation
        assert 0 < len(violation.description) < 400
    return bad


def check(reply: pb.RankReply, asked: list[int] | None, top_k: int, catalogue: set[int]) -> None:
    """Fail unless the reply holds together with itself and with what was asked."""
    ranked = [entry.anime_id for entry in reply.ranking]
    scores = [entry.score for entry in reply.ranking]
    assert len(set(ranked)) == len(ranked)
    assert set(ranked) <= catalogue
    assert scores == sorted(scores, reverse=True)
    for entry in reply.ranking:
        numbers = (entry.score, entry.rating, entry.affinity, entry.wide, entry.rest)
        assert all(map(math.isfinite, numbers))
        assert 1 <= entry.rating <= 10
    if asked is None:
        assert not reply.unknown_candidates
        assert len(ranked) <= (top_k or 10)
    else:
        distinct = list(dict.fromkeys(asked))
        known = [each for each in distinct if each in catalogue]
        assert list(reply.unknown_candidates) == [e for e in distinct if e not in catalogue]
        assert len(ranked) == min(len(known), top_k or len(known))
        assert set(ranked) <= set(known)


def told(body: bytes) -> pb.RankReply:
    reply = pb.RankReply.FromString(body)
    reply.ClearField("queue_time")
    reply.ClearField("compute_time")
    return reply


@pytest.mark.slow
@MANY
@given(request=RANKS)
def test_whatever_is_asked_of_rank_is_answered_or_refused_by_its_path(channel, toy, request):
    body = request.SerializeToString()
    answer = ask(channel, "Rank", body)
    if isinstance(answer, bytes):
        reply = told(answer)
        catalogue = set(toy.catalogue.anime_id.tolist())
        check(reply, list(request.candidate_ids), request.top_k, catalogue)
        assert told(ask(channel, "Rank", body)) == reply  # the same, however often it is asked


@pytest.mark.slow
@MANY
@given(request=RECOMMENDS)
def test_whatever_is_asked_of_recommend_is_answered_or_refused_by_its_path(channel, toy, request):
    body = request.SerializeToString()
    answer = ask(channel, "Recommend", body)
    if isinstance(answer, bytes):
        reply = told(answer)
        check(reply, None, request.top_k, set(toy.catalogue.anime_id.tolist()))
        assert told(ask(channel, "Recommend", body)) == reply


SIMILARS = st.builds(
    pb.SimilarRequest,
    anime_ids=st.lists(IDS, max_size=80),
    top_k=USUAL["top_k"],
    likeness=USUAL["objective"],
    include_adult=st.booleans(),
    model_version=USUAL["model_version"],
)


@pytest.mark.slow
@MANY
@given(request=SIMILARS)
def test_whatever_is_asked_of_similar_is_answered_or_refused_by_its_path(channel, toy, request):
    answer = ask(channel, "Similar", request.SerializeToString())
    if isinstance(answer, bytes):
        reply = pb.SimilarReply.FromString(answer)
        catalogue, asked = set(toy.catalogue.anime_id.tolist()), dict.fromkeys(request.anime_ids)
        ranked = [entry.anime_id for entry in reply.ranking]
        order = [(-entry.score, entry.anime_id) for entry in reply.ranking]
        assert order == sorted(order)
        assert set(ranked) <= catalogue - set(asked)
        assert len(set(ranked)) == len(ranked) <= (request.top_k or 10)
        assert list(reply.unknown_anime) == [each for each in asked if each not in catalogue]


STREAMED = st.builds(
    pb.RankStreamRequest,
    id=st.integers(0, 2**64 - 1),
    rank=st.none() | RANKS,
    timeout=st.none()
    | st.builds(
        Duration,
        seconds=st.integers(10, 2**63 - 1) | INT64,
        nanos=st.integers(-(2**31), 2**31 - 1),
    ),
) | st.builds(pb.RankStreamRequest, id=st.integers(0, 9), recommend=RECOMMENDS)


@pytest.mark.slow
@MANY
@given(requests=st.lists(STREAMED, max_size=8))
def test_whatever_is_asked_over_a_stream_is_answered_in_its_place(channel, requests):
    call = channel.stream_stream(f"{SERVICE}/RankStream")(
        (request.SerializeToString() for request in requests), timeout=60
    )
    replies = [pb.RankStreamReply.FromString(reply) for reply in call]
    assert sorted(reply.id for reply in replies) == sorted(request.id for request in requests)
    codes = {reply.status.code for reply in replies if reply.HasField("status")}
    refused = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert codes <= {code.value[0] for code in refused}


@pytest.mark.slow
@MANY
@given(bodies=st.lists(st.binary(max_size=60) | STREAMED.map(lambda r: r.SerializeToString())))
def test_a_stream_of_bytes_that_are_no_message_is_refused(channel, bodies):
    try:
        list(channel.stream_stream(f"{SERVICE}/RankStream")(iter(bodies), timeout=60))
    except grpc.RpcError as error:
        caught = error
    else:
        return
    assert caught.code() is grpc.StatusCode.INVALID_ARGUMENT, caught


METHODS = st.sampled_from(["Rank", "Recommend", "Similar", "GetModelInfo"])


@MANY
@given(method=METHODS, body=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_answered_or_refused(channel, method, body):
    ask(channel, method, body)


@st.composite
def damaged(draw):
    """A message with some of its bytes changed, left out or doubled."""
    body = bytearray(draw(RANKS | RECOMMENDS).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(body)


@pytest.mark.slow
@MANY
@given(method=METHODS, body=damaged())
def test_damaged_messages_are_answered_or_refused(channel, method, body):
    ask(channel, method, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "user_id": IDS | JSON,
        "candidate_ids": st.lists(IDS, max_size=20) | JSON,
        "history": st.lists(
            st.fixed_dictionaries({"anime_id": IDS}, optional={"rating": FLOAT32 | JSON}),
            max_size=5,
        )
        | JSON,
        "profile": st.fixed_dictionaries(
            {}, optional={"gender": TEXT | JSON, "days_watched": FLOAT32 | JSON}
        )
        | JSON,
        "top_k": st.integers() | JSON,
        "objective": st.sampled_from(["rating", "affinity", "blended"]) | JSON,
        "include_seen": st.booleans() | JSON,
        "explain": st.booleans() | JSON,
    },
)
DEEP = st.sampled_from([b"[" * 50_000, b'{"profile":' * 50_000, b"[[" + b'{"a":[' * 20_000])
BODIES = st.one_of(
    ITEMS.map(json.dumps).map(str.encode),
    st.lists(ITEMS, max_size=4).map(json.dumps).map(str.encode),
    JSON.map(json.dumps),
    JSON,
    st.binary(max_size=300),
    DEEP,
)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.slow
@MANY
@given(content=BODIES)
def test_whatever_is_sent_over_rest_is_answered_or_refused_by_its_path(toy, engine, content):
    body = Body(content, toy, engine.limits)
    assert all(isinstance(item, Query | InvalidQuery) for item in body.items)
    ranked = iter(engine.rank([item for item in body.items if isinstance(item, Query)]))
    answers = [next(ranked) if isinstance(item, Query) else item for item in body.items]
    reply = body.write(answers)
    if body.content_type != "application/json":
        return
    documents = json.loads(reply, parse_constant=refuse_constant)
    for document, answer in zip(
        documents if isinstance(documents, list) else [documents], answers, strict=True
    ):
        if isinstance(answer, InvalidQuery):
            assert document["error"] == {
                **document["error"]["faults"][0],
                "faults": [fault._asdict() for fault in answer.faults],
            }
            for fault in document["error"]["faults"]:
                assert 0 < len(fault["field"]) < 200
                assert 0 < len(fault["reason"]) < 400
        else:
            scores = [np.float32(entry["score"]) for entry in document["ranking"]]
            assert scores == sorted(scores, reverse=True)
