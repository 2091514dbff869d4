"""Requests that are good, and such that mean harm."""

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.contract import ranking_pb2 as pb
from tests.running.calls import status_of_call

SERVICE = "/anime.ranking.v1.RankingService"
MIB = 2**20
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", MIB)]


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
