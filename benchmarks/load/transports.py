"""How one call is made: bytes in, bytes out, over gRPC or HTTP, as cheaply as Python does it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc

from anirank.client.credentials import client_credentials

Call = Callable[[bytes], Awaitable[bytes]]

TIMEOUT_S = 10.0
CONNECTIONS = 128  # over HTTP/1 at most; a call beyond waits for one, and its latency says so


class CallFailed(Exception):  # noqa: N818 - named as the other errors of a call are
    """A call without a good answer; `code` is the gRPC status, or what HTTP said."""

    def __init__(self, code: str, said: str = "") -> None:
        super().__init__(f"{code} {said}".strip())
        self.code = code


class Caller(Protocol):
    """Says how to call a system; sent to the client's processes, so it can be pickled."""

    def connect(self) -> AbstractAsyncContextManager[Call]:
        """An open connection: what makes one call, and raises CallFailed."""


@dataclass(frozen=True)
class Tls:
    """PEM files: the authorities that vouch for the server, and what to show one that asks.

    Without authorities there is no TLS.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class GrpcCaller:
    """Calls `method` ("/package.Service/Method") at HOST:PORT, over so many connections in turn.

    A server of several processes on one port shares connections among them, not calls.
    """

    address: str
    method: str
    metadata: tuple[tuple[str, str], ...] = ()
    connections: int = 1
    tls: Tls = Tls()
    timeout_s: float = TIMEOUT_S

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Call]:
        """See `Caller.connect`."""
        # A pool of its own, or channels to one address share a connection.
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        async with AsyncExitStack() as stack:
            methods: list[Any] = []
            for _ in range(self.connections):
                channel = self._channel(options)
                methods.append((await stack.enter_async_context(channel)).unary_unary(self.method))
            turn = cycle(methods)

            async def call(body: bytes) -> bytes:
                try:
                    reply: bytes = await next(turn)(
                        body, metadata=self.metadata, timeout=self.timeout_s
                    )
                except grpc.aio.AioRpcError as error:
                    raise CallFailed(error.code().name, error.details() or "") from None
                return reply

            yield call

    def _channel(self, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        if self.tls.ca is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        credentials = client_credentials(self.tls.ca, self.tls.certificate, self.tls.key)
        return grpc.aio.secure_channel(self.address, credentials, options=options)


@dataclass(frozen=True)
class HttpCaller:
    """Posts to a URL over connections that are kept."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Call]:
        """See `Caller.connect`."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            headers=self.headers,
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
        ) as session:

            async def call(body: bytes) -> bytes:
                try:
                    async with session.post(self.url, data=body) as reply:
                        content = await reply.read()
                except TimeoutError:
                    raise CallFailed("DEADLINE_EXCEEDED") from None
                except aiohttp.ClientError as error:
                    raise CallFailed(type(error).__name__, str(error)) from None
                if reply.status >= 400:
                    raise CallFailed(
                        f"HTTP {reply.status}", content[:200].decode("utf-8", "replace")
                    )
                return content

            yield call
