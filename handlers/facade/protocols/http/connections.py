"""Connections that are bounded: in number, in the size of a head, and in the time it may take."""

import asyncio
import contextlib
from collections import Counter
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from handlers.facade import capacity
from handlers.facade.calls.places import address_of
from handlers.facade.protocols.http.caller import peer_of
from handlers.facade.protocols.http.problems import PROBLEM, Problem

CONNECTION = "anirank.connection"  # in a request's ASGI scope


class Bounds:
    """What the connections of one server may take together; `wire` bytes each of one request."""

    def __init__(self, wire: int) -> None:
        self.wire = wire
        self._open = 0
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether one more of an address may be open, which then counts."""
        if self._open >= capacity.CONNECTIONS:
            return False
        if self._by_address[address] >= capacity.CONNECTIONS // capacity.ADDRESS_SHARE:
            return False
        self._open += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one no more."""
        self._open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's, with the bounds that it leaves to a proxy before it.

    answering: the task of the request that is answered now; it is cancelled when its caller leaves.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.bounds: Bounds = app_state["bounds"]
        self.answering: asyncio.Task[Any] | None = None
        self._address: str | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head, self._received = True, 0
        self._fault = Problem(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take up a connection, unless there are too many."""
        super().connection_made(transport)
        address = address_of(peer_of(self.client))
        if not self.bounds.enter(address):
            transport.abort()
            return
        self._address = address
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what its caller waits for no more."""
        super().connection_lost(exc)
        self._stop_expecting()
        if self._address is not None:
            self.bounds.leave(self._address)
        if self.answering is not None:
            self.answering.cancel()

    def shutdown(self) -> None:
        """Close once no request is answered; it may be called again."""
        # A transport of TLS that is closed twice cannot be aborted any more, and its peer might
        # never answer the close.
        if not self.transport.is_closing():
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take up what has come, unless that is more than a request has."""
        if self.transport.is_closing():  # as after a refusal, whose parser is of no use any more
            return
        self._received += len(data)
        if self._received > (capacity.HEAD_BYTES if self._in_head else self.bounds.wire) + len(
            data
        ):
            self._refuse_size()
            return
        super().data_received(data)
        if self._in_head and self._received and not self.transport.is_closing():
            if self._received > capacity.HEAD_BYTES:
                self._refuse_size()
            elif self._head_timer is None:
                self._expect_head()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        scope: Any = self.scope
        scope[CONNECTION] = self
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the head is too large."""
        self._stop_expecting()
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > capacity.HEAD_BYTES or len(self.headers) > capacity.METADATA_ENTRIES:
            self._fault = _too_large()
            raise ValueError("too large a head")  # which ends the parser
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect another head after this request."""
        super().on_message_complete()
        self._in_head, self._received = True, 0

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request that is none, and hear no more of this connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # in the middle of another answer, or of its own request's body
            return
        self._refuse(self._fault)

    def _refuse_size(self) -> None:
        if self._in_head:
            self._refuse(_too_large())
        else:
            self.transport.abort()  # its body is not read: the answer, if any, has left

    def _refuse(self, problem: Problem) -> None:
        body = problem.body
        head = (
            f"HTTP/1.1 {problem.status.value} {problem.status.phrase}\r\n"
            f"content-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._stop_expecting()
        self.transport.close()
        # Who does not read it is not waited for.
        self.loop.call_later(capacity.LINGER_S, self.transport.abort)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(capacity.FIRST_MESSAGE_S, self._too_slow)

    def _stop_expecting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if not self._received:
            self.transport.close()
            return
        seconds = f"{capacity.FIRST_MESSAGE_S:g} s"
        detail = f"the head of the request has not come within {seconds}"
        with contextlib.suppress(RuntimeError):
            self._refuse(Problem(HTTPStatus.REQUEST_TIMEOUT, detail))


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the head has more than {capacity.HEAD_BYTES} bytes or {capacity.METADATA_ENTRIES} "
        "entries",
    )
