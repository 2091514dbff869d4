"""Calls that are opened and say nothing, over a real port: they keep nobody out."""

import asyncio
import contextlib
import socket
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from prometheus_client import generate_latest

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from handlers.facade import capacity
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.observer import Observer
from handlers.security.access import Security
from handlers.security.tokens import Tokens
from tests.handlers.facade.test_port import GREETING, HEADERS, PREFACE, frame
from tests.handlers.security.protected import TOKEN, write_tokens

RANK, CHECK = "/anime.ranking.v1.RankingService/Rank", "/grpc.health.v1.Health/Check"
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
# A whole greeting: HTTP/2's preface, empty settings, and that the server's are taken.
HELLO = PREFACE + frame(4, 0, 0) + frame(4, 1, 0)
SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@contextlib.asynccontextmanager
async def silent(address, method, count, metadata=None):
    """So many calls that never send their message, over as many connections as they need."""
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Any] = []
        for _ in range(-(-count // capacity.CALLS_OF_A_CONNECTION)):
            opened = grpc.aio.insecure_channel(address, options=OWN_CONNECTION)
            channel = await stack.enter_async_context(opened)
            number = min(capacity.CALLS_OF_A_CONNECTION, count - len(calls))
            calls += [channel.stream_unary(method)(metadata=metadata) for _ in range(number)]
        await asyncio.gather(*(call.wait_for_connection() for call in calls))
        await asyncio.sleep(0.3)  # until the server has taken them all
        yield calls


async def answered(address, metadata=None):
    """Whether a newcomer is answered, and told that the server serves."""
    async with grpc.aio.insecure_channel(address, options=OWN_CONNECTION) as channel:
        ranked = await RankingServiceStub(channel).Rank(
            pb.RankRequest(candidate_ids=[3]), timeout=5, metadata=metadata
        )
        health = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return len(ranked.ranking) == 1 and health == SERVING


@pytest.mark.parametrize("method", [RANK, CHECK])
def test_calls_that_send_nothing_keep_nobody_out(serve, monkeypatch, caplog, method):
    monkeypatch.setattr(capacity, "CALLS", 100)
    monkeypatch.setattr(capacity, "concurrent_calls", lambda limits: 100)
    metrics = Metrics()
    address = serve(observer=Observer(metrics))

    async def check():
        async with silent(address, method, 300) as calls:
            for _ in range(3):
                assert await answered(address)
            refused = [call for call in calls if call.done()]
            assert len(refused) >= 200
            assert await refused[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return len(refused)

    refused = asyncio.run(check())
    page = generate_latest(metrics.registry).decode()
    cap = "places" if method == CHECK else "address"
    assert f'anirank_capped_calls_total{{cap="{cap}"}} {refused:.1f}' in page
    [line] = [each for each in caplog.messages if "no place" in each]
    assert line.startswith("there is no place for another call")


def test_a_call_has_a_time_for_its_message(serve, monkeypatch):
    monkeypatch.setattr(capacity, "FIRST_MESSAGE_S", 0.3)
    address = serve()

    async def check():
        async with silent(address, RANK, 1) as [call], asyncio.timeout(20):
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await call.details() == "no message came within 0.3 s"

    asyncio.run(check())


def test_answers_that_nobody_reads_take_no_places(serve, monkeypatch):
    monkeypatch.setattr(capacity, "concurrent_calls", lambda limits: 20)
    address = serve()
    host, _, port = address.rpartition(":")
    body = pb.RankRequest(candidate_ids=[3]).SerializeToString()
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(PREFACE + frame(4, 0, 0, b"\0\4\0\0\0\0"))  # a window of nothing
        for stream in range(1, 101, 2):
            message = b"\0" + len(body).to_bytes(4, "big") + body
            connection.sendall(frame(1, 4, stream, HEADERS) + frame(0, 1, stream, message))
        time.sleep(0.5)
        assert asyncio.run(answered(address))


def test_who_waits_for_a_turn_is_not_silent(serve, monkeypatch):
    monkeypatch.setattr(capacity, "FIRST_MESSAGE_S", 0.5)
    monkeypatch.setattr(capacity, "CALLS_OF_A_CONNECTION", 1)
    address = serve()

    async def check():
        async with grpc.aio.insecure_channel(address) as channel:
            held: list[Any] = [channel.stream_unary(RANK)() for _ in range(3)]
            await asyncio.gather(*(call.wait_for_connection() for call in held))
            asked = RankingServiceStub(channel).Rank(pb.RankRequest(candidate_ids=[3]))
            assert len((await asyncio.wait_for(asked, 20)).ranking) == 1
            assert {await call.code() for call in held} == {grpc.StatusCode.DEADLINE_EXCEEDED}

    asyncio.run(check())


def test_a_call_that_ends_without_a_message_is_told_so(serve, caplog):
    address = serve()

    async def check():
        async with silent(address, RANK, 1) as [call], asyncio.timeout(20):
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await call.details() == "request: the call ended before its message came"

    asyncio.run(check())
    assert not caplog.records


def test_a_connection_has_a_hundred_calls_and_who_has_more_waits(serve):
    address = serve()

    async def check():
        async with grpc.aio.insecure_channel(address) as channel:
            held: list[Any] = [channel.stream_unary(RANK)() for _ in range(100)]
            await asyncio.gather(*(call.wait_for_connection() for call in held))
            rank = RankingServiceStub(channel).Rank
            with pytest.raises(grpc.RpcError) as caught:
                await rank(pb.RankRequest(candidate_ids=[3]), timeout=0.5)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await answered(address)  # over another connection
            held[0].cancel()
            assert (await rank(pb.RankRequest(candidate_ids=[3]), timeout=20)).ranking

    asyncio.run(check())


def test_without_a_token_nobody_takes_a_place_but_those_of_health(serve, monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "concurrent_calls", lambda limits: 20)
    address = serve(security=Security(tokens=Tokens(write_tokens(tmp_path / "tokens", TOKEN))))

    async def check():
        async with silent(address, RANK, 50) as strangers, silent(address, CHECK, 100):
            codes = [await call.code() for call in strangers]
            assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}
            assert await answered(address, [("authorization", f"Bearer {TOKEN}")])

    asyncio.run(check())


def test_a_method_that_stays_open_makes_room_for_the_next(serve, monkeypatch):
    monkeypatch.setattr(capacity, "LASTING_CALLS", 4)
    address = serve()

    async def check():
        async with grpc.aio.insecure_channel(address) as channel:
            watches = []
            for _ in range(6):
                watches.append(HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
                assert await asyncio.wait_for(watches[-1].read(), 20) == SERVING
            for watch in watches[:2]:
                assert await watch.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert not any(watch.done() for watch in watches[2:])
            reflection = ServerReflectionStub(channel).ServerReflectionInfo()
            await asyncio.sleep(0.3)
            assert not reflection.done()
            assert watches[2].done()

    asyncio.run(check())


@pytest.mark.parametrize("said", [b"", PREFACE, HELLO], ids=str)
def test_a_connection_over_which_nothing_comes_is_let_go(serve, monkeypatch, said):
    monkeypatch.setattr(capacity, "HANDSHAKE_MS", 300)
    monkeypatch.setattr(capacity, "IDLE_MS", 600)
    host, _, port = serve().rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(said)
        while connection.recv(4_096):
            pass  # until the server has let it go


def test_a_connection_that_takes_no_note_of_the_settings_is_let_go(serve, monkeypatch):
    monkeypatch.setattr(capacity, "HANDSHAKE_MS", 300)
    host, _, port = serve().rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(GREETING + frame(1, 4, 1, HEADERS))  # a call, so that it is not idle
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4_096):
                pass
