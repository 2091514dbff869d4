"""The HTTP server beside the gRPC one: uvicorn in the same event loop, begun and ended with it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from anirank.client.addresses import LOCAL_SOCKETS, host_and_port, resolve, with_port
from anirank.errors import AddressUnavailable
from handlers.facade import capacity
from handlers.facade.protocols.http.connections import Bounds, Connection
from handlers.facade.protocols.http.gate import Gate
from handlers.security.access import Security

BACKLOG = 1_024


class HttpServer:
    """Answers with an application until it is stopped.

    url: where, once it has begun.
    """

    def __init__(
        self, app: Gate, security: Security, address: str, wire: int, shared: bool
    ) -> None:
        """Listen on `address`, HOST:PORT, from here on, and answer once it begins.

        wire: bytes of one request at most, as they come. shared: other processes listen there as
        well. Raises AddressRefused and AddressUnavailable as `Security.listen` does.
        """
        security.check(address)
        self._socket = _listening(address, shared)
        scheme = "http" if security.tls is None else "https"
        self.url = f"{scheme}://{with_port(address, self._socket.getsockname()[1])}"
        config = Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=capacity.IDLE_HTTP_S,
        )
        # It has a line for each request that is none, which callers could fill the log with.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = _Server(config, security, Bounds(wire))
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            await asyncio.wait((self._serving,), timeout=0.001)
            if self._serving.done():
                self._serving.result()

    async def stop(self, grace_s: float | None) -> None:
        """Take no more requests, and let those in flight end within `grace_s` seconds.

        What has not ended by then is cut off. Cancelled, it may be called again.
        """
        if self._serving is None:
            self._socket.close()
            return
        self._server.should_exit = True
        state = self._server.server_state
        for each in self._server.servers:
            each.close()
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=grace_s or 0)
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=capacity.LINGER_S)
        self._server.force_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._serving), capacity.LINGER_S)
        for task in self._server.accepting:  # as in a handshake of TLS
            task.cancel()
        if self._server.accepting:
            await asyncio.wait(list(self._server.accepting), timeout=capacity.LINGER_S)
        for connection in list(state.connections):
            connection.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(capacity.LINGER_S):
                while state.connections:  # each closes its socket in a round of the event loop
                    await asyncio.sleep(0)


class _Server(Server):
    """uvicorn's, which leaves the signals of the process alone, and greets within a time.

    accepting: the tasks of connections that uvicorn does not know of yet.
    """

    def __init__(self, config: Config, security: Security, bounds: Bounds) -> None:
        super().__init__(config)
        self._security, self._bounds = security, bounds
        self.accepting: set[asyncio.Task[Any]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to the façade."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; a handshake of TLS has as long as over gRPC."""
        assert sockets is not None
        loop, tls = asyncio.get_running_loop(), self._security.tls
        state: dict[str, Any] = {"bounds": self._bounds}

        def connection() -> Connection:
            # asyncio takes up each in a task, which closes the socket where it is cancelled.
            task = asyncio.current_task(loop)
            if task is not None:
                self.accepting.add(task)
                task.add_done_callback(self.accepting.discard)
            return Connection(self.config, self.server_state, state, loop)

        self.servers = [
            await loop.create_server(
                connection,
                sock=each,
                ssl=None if tls is None else tls.context(),
                backlog=BACKLOG,
                ssl_handshake_timeout=None if tls is None else capacity.HANDSHAKE_MS / 1e3,
            )
            for each in sockets
        ]
        self.started = True


def _listening(address: str, shared: bool) -> socket.socket:
    if address.startswith(LOCAL_SOCKETS):
        raise AddressUnavailable(f"{address}: HTTP is answered on HOST:PORT")
    host, port = host_and_port(address)
    family, _, _, _, where = resolve(address, host, port)[0]
    # Of TCP by name: else asyncio does not turn off Nagle's algorithm, and an answer waits 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(where)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise AddressUnavailable(f"{address}: in use, or not an address of this machine") from error
    return opened
