"""Whatever comes to the port, and however many say nothing there, the server serves on."""

import resource
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from handlers.facade.capacity import CONNECTIONS
from tests.handlers.facade.hostile.requests import peak

SERVICE = "/anime.ranking.v1.RankingService"
SOME = settings(max_examples=150, deadline=None, derandomize=True)


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


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: bytes, value: bytes) -> bytes:
    """As it is, in no table (RFC 7541, 6.2.2); both shorter than 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = b"".join(
    header(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"{SERVICE}/Rank".encode()),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
GREETING = PREFACE + frame(4, 0, 0)
HEADERS_ONLY, PING, RESET = 1, 6, 3
AT_THE_PORT = {
    "nothing": b"",
    "half a preface": PREFACE[:10],
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 600,
    "a frame without end": GREETING + b"\xff\xff\xff" + b"\0" * 1_000,
    "a frame of no known kind": GREETING + frame(200, 255, 1, b"x" * 50),
    "data of no stream": GREETING + frame(0, 0, 1, b"x" * 50),
    "headers that are none": GREETING + frame(HEADERS_ONLY, 4, 1, b"\xff" * 200),
    "calls taken back at once": GREETING
    + b"".join(
        frame(HEADERS_ONLY, 4, stream, HEADERS) + frame(RESET, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 4_001, 2)
    ),
    "calls without messages": GREETING
    + b"".join(frame(HEADERS_ONLY, 4, stream, HEADERS) for stream in range(1, 2_001, 2)),
    "headers that never end": GREETING
    + frame(HEADERS_ONLY, 0, 1, HEADERS)
    + b"".join(frame(9, 0, 1, header(b"x-%d" % i, b"y" * 100)) for i in range(5_000)),
    "a header that is no text": GREETING
    + frame(HEADERS_ONLY, 4, 1, HEADERS + header(b"authorization", b"Bearer \xff\xfe\n"))
    + frame(0, 1, 1, b"\0\0\0\0\x02\x20\x03"),
    "settings": GREETING + b"".join(frame(4, 0, 0, b"\0\x04\0\0\xff\xff") for _ in range(5_000)),
    "pings": GREETING + frame(PING, 0, 0, b"01234567") * 5_000,
    "a window that overflows": GREETING + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "a message longer than said": GREETING
    + frame(HEADERS_ONLY, 4, 1, HEADERS)
    + frame(0, 1, 1, b"\0\0\0\0\x02" + b"x" * 100),
    "a message of a length that cannot be": GREETING
    + frame(HEADERS_ONLY, 4, 1, HEADERS)
    + frame(0, 1, 1, b"\0\xff\xff\xff\xff" + b"x" * 100),
    "a message said to be compressed": GREETING
    + frame(HEADERS_ONLY, 4, 1, HEADERS)
    + frame(0, 1, 1, b"\x01\0\0\0\x64" + b"x" * 100),
}


def send(address: str, content: bytes) -> socket.socket:
    host, _, port = address.rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=20)
    with suppress(OSError):  # cut off meanwhile, as it may be
        opened.sendall(content)
    return opened


def serves(address: str) -> bool:
    """Whether who comes anew is answered, and health says so."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        health = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
        return health.status == health_pb2.HealthCheckResponse.SERVING and answers(channel)


def serves_now(address: str) -> bool:
    """The same, of who is cancelled as well."""
    try:
        return serves(address)
    except grpc.RpcError:
        return False


def answers(channel: grpc.Channel) -> bool:
    """Whether a small request has its answer."""
    request = pb.RankRequest(candidate_ids=[3])
    return len(RankingServiceStub(channel).Rank(request, timeout=60).ranking) == 1


@pytest.mark.parametrize("content", AT_THE_PORT.values(), ids=AT_THE_PORT.keys())
def test_whatever_comes_to_the_port_the_server_serves_on(facade, content):
    with send(facade.address, content):  # one of them cannot take every place
        assert serves(facade.address)
    assert serves(facade.address)


@SOME
@given(
    start=st.sampled_from([b"", PREFACE, GREETING, GREETING + frame(HEADERS_ONLY, 4, 1, HEADERS)]),
    frames=st.lists(
        st.builds(
            frame,
            st.integers(0, 12),
            st.integers(0, 255),
            st.integers(0, 9),
            st.binary(max_size=60) | st.just(HEADERS),
        )
        | st.binary(max_size=60),
        max_size=6,
    ),
)
def test_random_bytes_at_the_port_leave_the_server_serving(facade, channel, start, frames):
    send(facade.address, start + b"".join(frames)).close()
    assert answers(channel)


def test_many_who_say_nothing_keep_nobody_out(facade):
    with ExitStack() as stack:
        for place in range(300):
            stack.enter_context(send(facade.address, PREFACE[: place % len(PREFACE)]))
        assert serves(facade.address)
    assert serves(facade.address)
    files = Path(f"/proc/{facade.pid}/fd")
    waiting = threading.Event()
    while len(list(files.iterdir())) > 200:  # they are let go of, once they have gone
        waiting.wait(0.05)


@pytest.mark.slow
def test_thousands_of_calls_with_more_metadata_than_there_may_be_take_bounded_memory(
    serving, tmp_path
):
    # In HPACK's table once, and then a byte each (RFC 7541, 6.1); counted as 33.
    entries = b"\x40\x01a\x00" + b"\xbe" * 500
    with serving(tmp_path / "log") as facade, ExitStack() as stack:
        assert serves(facade.address)
        before = peak(facade)
        for _ in range(20):
            opened = stack.enter_context(send(facade.address, GREETING + frame(4, 1, 0)))
            opened.sendall(
                b"".join(
                    frame(HEADERS_ONLY, 4, each, HEADERS + entries) for each in range(1, 201, 2)
                )
            )
        # Once, on a busy machine, who came meanwhile was cancelled; why is not known.
        until = time.monotonic() + 30
        while not serves_now(facade.address) and time.monotonic() < until:
            time.sleep(0.1)
        assert serves(facade.address)
        assert peak(facade) - before < 150 * 2**20


@pytest.mark.slow
def test_connections_beyond_the_last_are_turned_away(serving, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * CONNECTIONS + 500
    if hard < needed:
        pytest.skip(f"needs {needed} open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        with serving(tmp_path / "log") as facade, ExitStack() as stack:
            known = stack.enter_context(grpc.insecure_channel(facade.address))
            assert answers(known)
            for _ in range(CONNECTIONS + 300):
                stack.enter_context(send(facade.address, PREFACE))
            assert answers(known)
            assert len(list(Path(f"/proc/{facade.pid}/fd").iterdir())) < CONNECTIONS + 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
