"""What attackers do to a port; each runs for some seconds, in a process of its own.

python -m benchmarks.chaos.attacks oversized 127.0.0.1:50051 5
"""

import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import grpc

from anirank.contract import ranking_pb2 as pb

SERVICE = "/anime.ranking.v1.RankingService"
HEALTH = "/grpc.health.v1.Health/Check"
MEGABYTE = 2**20


def hello(address: str, seconds: float) -> None:
    """Connections that say nothing."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(300):
            with suppress(OSError):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=1))
        time.sleep(seconds)


def unsent(address: str, seconds: float) -> None:
    """Calls that never send their message, as many as a server takes."""
    ended = threading.Event()

    def nothing() -> Iterator[bytes]:
        ended.wait(seconds)
        yield from ()

    with ExitStack() as stack:
        for _ in range(2):
            channel = stack.enter_context(_channel(address))
            check = channel.stream_unary(HEALTH)
            for _ in range(600):
                check(nothing())
        time.sleep(seconds)
        ended.set()


def oversized(address: str, seconds: float) -> None:
    """Messages of 4 MB."""
    body = pb.RankRequest(candidate_ids=range(1, MEGABYTE)).SerializeToString()
    _flood(address, seconds, body, threads=8)


def largest(address: str, seconds: float) -> None:
    """600 of the largest requests that are valid, at once over six connections, until answered."""
    body = pb.RankRequest(candidate_ids=range(2**60, 2**60 + 25_000), top_k=10).SerializeToString()
    with ExitStack() as stack:
        channels = [stack.enter_context(_channel(address)) for _ in range(6)]
        for channel in channels:
            grpc.channel_ready_future(channel).result(30)
        calls = [
            channel.unary_unary(f"{SERVICE}/Rank").future(body, timeout=60)
            for _ in range(100)
            for channel in channels
        ]
        for call in calls:
            call.exception()
    time.sleep(seconds)


def garbage(address: str, seconds: float) -> None:
    """Bytes that are no message."""
    _flood(address, seconds, random.Random(0).randbytes(1_000), threads=4)


def resets(address: str, seconds: float) -> None:
    """Calls that are taken back as soon as they are made."""
    until = time.monotonic() + seconds
    body = pb.RecommendRequest(top_k=10).SerializeToString()
    with _channel(address) as channel:
        recommend = channel.unary_unary(f"{SERVICE}/Recommend")
        while time.monotonic() < until:
            recommend.future(body).cancel()


def unread(address: str, seconds: float) -> None:
    """Streams that ask for whole catalogues and read no answer."""
    item = pb.RankStreamRequest(
        recommend=pb.RecommendRequest(top_k=25_000, explain=True, include_seen=True)
    ).SerializeToString()
    _streams(address, seconds, 8, lambda: iter([item] * 64))


def idle(address: str, seconds: float) -> None:
    """Streams that ask for nothing."""

    def nothing() -> Iterator[bytes]:
        time.sleep(seconds)
        yield from ()

    _streams(address, seconds, 40, nothing)


def headers(address: str, seconds: float) -> None:
    """Calls with as much metadata as gRPC lets through, and other than it should be."""
    metadata = [(f"x-{at}", "a" * 100) for at in range(30)]
    metadata += [("x-request-id", "b" * 2_000), ("authorization", "Bearer " + "c" * 1_000)]
    until = time.monotonic() + seconds
    with _channel(address) as channel:
        info = channel.unary_unary(f"{SERVICE}/GetModelInfo")
        while time.monotonic() < until:
            with suppress(grpc.RpcError):
                info(b"", metadata=metadata, timeout=2)


def entries(address: str, seconds: float) -> None:
    """Calls with 3,000 entries of metadata, a byte each, from who never heard of our bounds."""
    host, _, port = address.rpartition(":")
    # RFC 7541: an entry in the table (6.2.1), then 3,000 times its place there (6.1).
    block = b"".join(b"\x00" + _sized(name) + _sized(value) for name, value in _HEADERS)
    block += b"\x40" + _sized(b"a") + _sized(b"") + b"\xbe" * 3_000
    # Its settings, of which it has none, are all that it says beside: it takes no note of ours.
    said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
    said += b"".join(_frame(1, 4, stream, block) for stream in range(1, 101, 2))
    with ExitStack() as stack:
        for _ in range(20):
            with suppress(OSError):
                opened = socket.create_connection((host, int(port)), timeout=1)
                stack.enter_context(opened).sendall(said)
        time.sleep(seconds)


ATTACKS: dict[str, Callable[[str, float], None]] = {
    each.__name__: each
    for each in (hello, unsent, oversized, largest, garbage, resets, unread, idle, headers, entries)
}

_HEADERS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", f"{SERVICE}/Rank".encode()),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)


def _sized(text: bytes) -> bytes:
    """A string of HPACK, shorter than 127."""
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _channel(address: str) -> Any:
    # A pool of its own: channels to one address would share a connection else.
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def _flood(address: str, seconds: float, body: bytes, threads: int) -> None:
    until = time.monotonic() + seconds

    def send() -> None:
        with _channel(address) as channel:
            rank = channel.unary_unary(f"{SERVICE}/Rank")
            while time.monotonic() < until:
                with suppress(grpc.RpcError):
                    rank(body, timeout=2)

    senders = [threading.Thread(target=send) for _ in range(threads)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def _streams(
    address: str, seconds: float, count: int, messages: Callable[[], Iterator[bytes]]
) -> None:
    with _channel(address) as channel:
        stream = channel.stream_stream(f"{SERVICE}/RankStream")
        calls = [stream(messages()) for _ in range(count)]
        time.sleep(seconds)
        for call in calls:
            call.cancel()


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](sys.argv[2], float(sys.argv[3]))
