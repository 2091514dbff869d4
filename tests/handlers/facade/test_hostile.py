"""Requests that mean harm: each is refused by name, cheaply, and touches nobody else."""

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.contract import ranking_pb2 as pb
from bundles.bundle import Bundle
from handlers.facade.capacity import METADATA_BYTES, METADATA_ENTRIES, RANK_STREAMS
from tests.running.calls import status_of_call

SERVICE = "/anime.ranking.v1.RankingService"
MIB = 2**20
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", MIB)]


@pytest.fixture(scope="module")
def facade(serving, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "stderr"
    with serving(log) as facade:
        yield facade
    assert "Traceback" not in log.read_text()


@pytest.fixture
def channel(facade) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(facade.address, options=UNLIMITED) as channel:
        yield channel


def ask(channel, method: str, body: bytes, **options) -> bytes:
    reply: bytes = channel.unary_unary(f"{SERVICE}/{method}")(body, timeout=60, **options)
    return reply


def refused(channel, method: str, body: bytes) -> error_details_pb2.BadRequest.FieldViolation:
    """What is wrong first with a request, by the status it gets."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, method, body)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value
    [detail] = status_of_call(caught.value).details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    return bad.field_violations[0]


def packed(field: int, content: bytes) -> bytes:
    """A field of a message, of the kind that has a length."""
    length, size = len(content), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([field << 3 | 2]) + size + bytes([length]) + content


def peak(facade) -> int:
    """The most memory that the façade has ever held, in bytes."""
    status = Path(f"/proc/{facade.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def serves(channel) -> bool:
    reply = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    ranked = pb.RankReply.FromString(ask(channel, "Rank", GOOD[0][1]))
    return reply.status == health_pb2.HealthCheckResponse.SERVING and len(ranked.ranking) == 3


NUMBER = pb.Profile(numbers={"days_watched": 1}).SerializeToString()
GOOD = [
    ("Rank", pb.RankRequest(candidate_ids=[3, 6, 9], user_id=10).SerializeToString()),
    ("Recommend", pb.RecommendRequest(user_id=20, top_k=7).SerializeToString()),
    (
        "Rank",
        pb.RankRequest(
            candidate_ids=[30, 9, 4, 9, 12],
            history=[pb.HistoryItem(anime_id=3, rating=9), pb.HistoryItem(anime_id=6)],
            explain=True,
        ).SerializeToString(),
    ),
    ("Recommend", pb.RecommendRequest(objective=pb.OBJECTIVE_RATING).SerializeToString()),
    (
        "Recommend",
        pb.RecommendRequest(
            history=[pb.HistoryItem(anime_id=each, rating=8) for each in range(3, 90, 3)],
            profile=pb.Profile(numbers={"days_watched": 0.5}),
            include_seen=True,
        ).SerializeToString(),
    ),
]
FEW = "more than 16384 bytes are neither candidates nor history"
# By field and what is wrong there; each fits the bytes of a message, and nothing is made of it.
HUGE: list[tuple[str, bytes, str, str]] = [
    ("Rank", packed(4, b"\x01" * 320_000), "candidate_ids", "more than 25000 given"),
    ("Rank", b"\x20\x01" * 160_000, "candidate_ids", "more than 25000 given"),
    ("Rank", b"\x20\x01" + packed(2, b"") * 160_000, "history", "more than 2000 given"),
    ("Recommend", packed(2, b"") * 160_000, "history", "more than 2000 given"),
    (
        "Recommend",
        packed(3, b"".join(packed(1, packed(1, b"%x" % i)) for i in range(40_000))),
        "request",
        FEW,
    ),
    (
        "Recommend",
        b"".join(packed(3, packed(2, packed(1, b"%x" % i))) for i in range(30_000)),
        "request",
        FEW,
    ),
    ("Recommend", packed(3, packed(1, packed(1, b"k" * 320_000))), "request", FEW),
    ("Recommend", packed(9, b"v" * 320_000), "request", FEW),
    ("Rank", GOOD[0][1] + b"\x78\x01" * 160_000, "request", FEW),
    ("Rank", packed(4, b"\x01" * 16_000 + b"\x80" * 20), "request", "is not a anime"),
    (
        "Recommend",
        packed(3, b"".join(packed(1, packed(1, b"%x" % i)) for i in range(1_500))),
        "profile.numbers",
        "is not known; known are days_watched",
    ),
    (
        "Recommend",
        packed(3, packed(1, packed(1, b"k" * 16_000))),
        'profile.numbers["kkkkkk',
        "is not known",
    ),
    ("Recommend", packed(9, b"v" * 16_000), "model_version", "is not served"),
]
WRONG: list[tuple[str, bytes, str]] = [
    ("Rank", b"", "candidate_ids"),
    ("Rank", b"\xff" * 40, "request"),
    ("Rank", GOOD[2][1][:-1], "request"),
    ("Recommend", packed(9, b"\xff\xfe"), "request"),  # no UTF-8
    ("Recommend", packed(3, packed(1, packed(1, b"\xc3"))), "request"),
    ("Recommend", packed(2, b"\x0a") , "request"),  # cut inside of the message
    ("Recommend", b"\x28\xe7\x07", "objective"),
    ("Recommend", b"\x28" + b"\xff" * 9 + b"\x01", "objective"),  # -1
    ("GetModelInfo", packed(1, b"9"), "model_version"),
    ("GetModelInfo", b"\xff", "request"),
    (
        "Recommend",
        pb.RecommendRequest(
            history=[pb.HistoryItem(anime_id=1), pb.HistoryItem(rating=float("nan"))]
        ).SerializeToString(),
        "history[1].rating",
    ),
    (
        "Recommend",
        pb.RecommendRequest(profile=pb.Profile(numbers={"days_watched": float("nan")}))
        .SerializeToString(),
        'profile.numbers["days_watched"]',
    ),
]  # fmt: skip

BAD = [
    *((method, body) for method, body, _ in WRONG),
    # This reaches the batch, and is refused there: what the graph makes of it is not finite.
    (
        "Rank",
        pb.RankRequest(
            candidate_ids=[3], profile=pb.Profile(numbers={"days_watched": 3e38})
        ).SerializeToString(),
    ),
]


@pytest.mark.parametrize(("method", "body", "field"), WRONG)
def test_what_is_wrong_is_refused_with_its_path(channel, method, body, field):
    assert refused(channel, method, body).field == field


@pytest.mark.parametrize(("method", "body", "field", "reason"), HUGE)
def test_a_multitude_of_entries_is_refused_by_its_number(channel, method, body, field, reason):
    violation = refused(channel, method, body)
    assert violation.field.startswith(field)
    assert reason in violation.description
    assert len(violation.field) + len(violation.description) < 400


def test_ten_million_candidates_are_refused_unread(channel):
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "Rank", packed(4, b"\x01" * 10_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert serves(channel)


@pytest.mark.slow
def test_a_message_that_unpacks_to_more_than_one_may_hold_is_refused(channel, facade):
    before = peak(facade)
    body = packed(9, b"v" * (256 * MIB))  # 250 KiB once compressed
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "Recommend", body, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak(facade) - before < 64 * MIB
    assert serves(channel)


def test_what_the_contract_does_not_know_changes_nothing(channel):
    unknown = packed(15, b"whatever" * 1_000) + b"\x78\x01"
    for method, body in GOOD:
        assert told(ask(channel, method, body + unknown)) == told(ask(channel, method, body))


@pytest.mark.parametrize(
    "name",
    [f"{SERVICE}/Rankle", f"{SERVICE}/", "/no.Service/Rank", "/", "/%00", f"/{'x' * 5_000}/y"],
)
def test_a_method_that_is_not_there_is_unimplemented(channel, name):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(name)(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-long", "y" * METADATA_BYTES)],
        [(f"x-many-{i}", "y") for i in range(1_000)],
        [("x-bin", b"\0" * METADATA_BYTES)],
    ],
    ids=["one", "many", "binary"],
)
def test_metadata_that_is_too_large_is_refused(channel, metadata):
    for _ in range(5):  # always, not by chance
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel, *GOOD[0], metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert serves(channel)


def test_metadata_of_too_many_entries_is_refused_by_their_number(channel):
    with pytest.raises(grpc.RpcError, match="metadata: more than 100 entries given") as caught:
        ask(channel, *GOOD[0], metadata=[("x", "y")] * METADATA_ENTRIES)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ask(channel, *GOOD[0], metadata=[("x", "y")] * (METADATA_ENTRIES - 10))


def told(reply: bytes) -> bytes:
    """A reply without what differs from time to time."""
    message = pb.RankReply.FromString(reply)
    for field in ("queue_time", "compute_time"):
        message.ClearField(field)
    return message.SerializeToString(deterministic=True)


async def flood(address: str, good, bad, rounds: int) -> list[list[bytes]]:
    """The answers to `good`, each `rounds` times, among as many of `bad`."""
    taken = asyncio.Semaphore(200)  # fewer than the queue holds

    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:

        async def call(method: str, body: bytes) -> bytes | None:
            async with taken:
                ask_it: Any = channel.unary_unary(f"{SERVICE}/{method}")
                asked = ask_it(body, timeout=120)
                if await asked.code() is grpc.StatusCode.OK:
                    return bytes(await asked)
                assert await asked.code() is grpc.StatusCode.INVALID_ARGUMENT, asked
                return None

        calls = [(place, *each) for place, each in enumerate(good) for _ in range(rounds)]
        others = itertools.islice(itertools.cycle(bad), len(calls))
        calls += [(-1, *each[:2]) for each in others]
        random.Random(7).shuffle(calls)
        answers = await asyncio.gather(*(call(method, body) for _, method, body in calls))
    found: list[list[bytes]] = [[] for _ in good]
    for (place, *_), answer in zip(calls, answers, strict=True):
        assert (answer is None) == (place < 0)
        if answer is not None:
            found[place].append(told(answer))
    return found


def test_a_bad_request_does_not_touch_its_neighbours(channel, facade):
    alone = [told(ask(channel, method, body)) for method, body in GOOD]
    among = asyncio.run(flood(facade.address, GOOD, BAD, rounds=60))
    for expected, answers in zip(alone, among, strict=True):
        assert set(answers) == {expected}


def of_every_kind(bundle: Bundle) -> list[tuple[str, bytes]]:
    """Requests to a model, of many sizes, with histories and without, by users and visitors."""
    chance = np.random.default_rng(3)
    ids, users = bundle.catalogue.anime_id, bundle.histories.user_id
    asked: list[tuple[str, bytes]] = []
    for place in range(24):
        watched = chance.choice(ids, chance.integers(0, 150), replace=False).tolist()
        about: dict[str, Any] = {
            "user_id": int(chance.choice(users)) if place % 3 else None,
            "history": [
                pb.HistoryItem(anime_id=each, rating=each % 10 + 1 if each % 4 else None)
                for each in watched
            ],
            "objective": place % 4,
            "explain": place % 5 == 0,
        }
        some = chance.choice(ids, chance.integers(1, len(ids)), replace=False).tolist()
        if place % 4:
            asked.append(("Rank", pb.RankRequest(candidate_ids=some, **about).SerializeToString()))
        else:
            asked.append(("Recommend", pb.RecommendRequest(**about).SerializeToString()))
    return asked


@pytest.mark.slow
def test_nor_does_it_with_a_trained_model(serving, personal_bundle, tmp_path):
    """Whose scores are sums that another order would round differently."""
    good = of_every_kind(Bundle.open(personal_bundle.folder))
    store = personal_bundle.folder.parents[1]
    with serving(tmp_path / "log", "--store", store, "--name", "anime") as facade:
        with grpc.insecure_channel(facade.address) as channel:
            alone = [told(ask(channel, method, body)) for method, body in good]
        among = asyncio.run(flood(facade.address, good, BAD, rounds=8))
    for expected, answers in zip(alone, among, strict=True):
        assert set(answers) == {expected}


@pytest.mark.slow
def test_a_flood_of_huge_requests_leaves_memory_bounded(channel, facade):
    assert serves(channel)
    before = peak(facade)
    asyncio.run(flood(facade.address, GOOD, HUGE, rounds=16))
    # About 100 of them may be on their way in at once; each is 4 MiB, and nothing is made of it
    # that outlasts its refusal.
    assert peak(facade) - before < 1_000 * MIB
    assert serves(channel)


def of_stream(number: int, method: str, body: bytes) -> bytes:
    """A RankStreamRequest around a request's bytes."""
    return b"\x08" + bytes([number]) + packed(2 if method == "Rank" else 3, body)


async def stream(address: str, sent: list[bytes]) -> list[pb.RankStreamReply]:
    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:
        rank_stream: Any = channel.stream_stream(f"{SERVICE}/RankStream")
        call = rank_stream(iter(sent), timeout=120)
        return [pb.RankStreamReply.FromString(reply) async for reply in call]


@pytest.mark.slow
def test_a_bad_request_on_a_stream_does_not_touch_its_neighbours(channel, facade):
    alone = [told(ask(channel, method, body)) for method, body in GOOD]
    every = [(method, body) for method, body, _ in WRONG]
    every += [(method, body) for method, body, *_ in HUGE]
    bad = [each for each in every if each[0] != "GetModelInfo"]
    bad = [each for each in bad if refused(channel, *each).field != "request"]
    sent = [each for pair in zip(itertools.cycle(GOOD), bad, strict=False) for each in pair]
    before = peak(facade)
    replies = asyncio.run(
        stream(facade.address, [of_stream(place, *each) for place, each in enumerate(sent)])
    )
    assert sorted(reply.id for reply in replies) == list(range(len(sent)))
    for reply in replies:
        if reply.id % 2 == 0:
            answer = told(reply.reply.SerializeToString())
            assert answer == alone[reply.id // 2 % len(GOOD)]
        else:
            assert reply.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert peak(facade) - before < 1_000 * MIB


def test_streams_that_make_room_are_told_when_to_come_back(channel, facade):
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait(60)
        yield from ()

    open_stream = channel.stream_stream(f"{SERVICE}/RankStream")
    calls = [open_stream(nothing(), timeout=60) for _ in range(RANK_STREAMS)]
    try:
        [answer] = asyncio.run(stream(facade.address, [of_stream(7, *GOOD[0])]))
        assert answer.id == 7
        ended = [call for call in calls if call.done()]
        assert len(ended) > RANK_STREAMS // 2  # one address has half of the places
        for call in ended:
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            [detail] = status_of_call(call).details
            assert detail.Unpack(error_details_pb2.RetryInfo())
        assert serves(channel)
    finally:
        done.set()


@pytest.mark.slow
def test_who_does_not_read_the_answers_takes_no_more_than_a_place(channel, facade):
    """Each sends for as long as the server takes it, and reads nothing."""
    before = peak(facade)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            other = stack.enter_context(grpc.insecure_channel(facade.address, options=UNLIMITED))
            endless = (of_stream(place % 100, *GOOD[4]) for place in range(100_000))
            rank_stream: Any = other.stream_stream(f"{SERVICE}/RankStream")
            stack.callback(rank_stream(endless, timeout=60).cancel)
        for _ in range(20):
            assert serves(channel)
            threading.Event().wait(0.05)
    assert peak(facade) - before < 200 * MIB
    assert serves(channel)
