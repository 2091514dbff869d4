import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from aiohttp import web

from benchmarks.load.transports import Caller, CallFailed, GrpcCaller, HttpCaller
from benchmarks.systems.processes import free_ports


@asynccontextmanager
async def http_server() -> AsyncIterator[str]:
    """A peer that answers what it is told: a status, or nothing for a while."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        if body == b"hang":
            await asyncio.sleep(60)
        status = int(body) if body.isdigit() else 200
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    [port] = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def call(caller: Caller, body: bytes) -> bytes:
    async with caller.connect() as call:
        return await call(body)


def failure(caller: Caller, body: bytes = b"x") -> str:
    with pytest.raises(CallFailed) as raised:
        asyncio.run(call(caller, body))
    return raised.value.code


def test_http_gives_its_answer_and_tells_its_failures_apart() -> None:
    async def go() -> None:
        async with http_server() as url:
            caller = HttpCaller(url, timeout_s=0.5)
            assert await call(caller, b"hello") == b"hello"
            for body, code in ((b"503", "HTTP 503"), (b"hang", "DEADLINE_EXCEEDED")):
                with pytest.raises(CallFailed) as raised:
                    await call(caller, body)
                assert raised.value.code == code

    asyncio.run(go())


def test_nobody_there_is_a_failure_and_no_crash() -> None:
    [port] = free_ports(1)
    assert "Connect" in failure(HttpCaller(f"http://127.0.0.1:{port}/"))
    assert failure(GrpcCaller(f"127.0.0.1:{port}", "/a.B/C", timeout_s=5)) == "UNAVAILABLE"


def test_grpc_tells_its_status_and_uses_as_many_connections_as_told() -> None:
    peers: set[str] = set()

    async def echo(body: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        peers.add(context.peer())
        if body == b"full":
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        return body

    async def go() -> None:
        server = grpc.aio.server()
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
        handler = grpc.method_handlers_generic_handler("a.B", {"C": method})
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        caller = GrpcCaller(f"127.0.0.1:{port}", "/a.B/C", connections=3)
        async with caller.connect() as call:
            assert [await call(b"%d" % n) for n in range(6)] == [b"%d" % n for n in range(6)]
            with pytest.raises(CallFailed) as raised:
                await call(b"full")
        assert raised.value.code == "RESOURCE_EXHAUSTED"
        await server.stop(None)

    asyncio.run(go())
    assert len(peers) == 3
