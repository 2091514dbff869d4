"""One request and its reply: a body read within its bound, an answer written until it is read."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from handlers.facade import capacity
from handlers.facade.calls.places import Call, Places
from handlers.facade.calls.unread import SMALL
from handlers.facade.protocols.http.connections import CONNECTION, Connection
from handlers.facade.protocols.http.kinds import dumped
from handlers.facade.protocols.http.problems import PROBLEM, Problem

JSON = "application/json"
Headers = Sequence[tuple[str, str]]


class Refused(Exception):  # noqa: N818 - it says what happened
    """A request ends with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Exchange:
    """What a request is answered over; `started` once a part of its answer has left.

    scope: ASGI's. connection: that it came over. call: its place among others, in `places`.
    """

    def __init__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
        call: Call,
        places: Places,
    ) -> None:
        self.scope = scope
        self.connection: Connection = scope[CONNECTION]
        self.call = call
        self.started = False
        self._receive, self._send, self._places = receive, send, places
        self._read = False

    async def body(self, most: int) -> bytes:
        """The body, of up to `most` bytes; raises Refused where it has more, or is packed.

        It has as many seconds as a call over gRPC has for its message.
        """
        for name, value in self.scope["headers"]:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise Refused(
                    await self._unread(
                        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body should not be packed"
                    )
                )
            if name == b"content-length" and int(value) > most:
                raise Refused(await self._too_large(most))
        found = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise asyncio.CancelledError
            found += message["body"]
            if len(found) > most:
                raise Refused(await self._too_large(most))
            if not message["more_body"]:
                break
        self._arrived()
        return bytes(found)

    async def without_body(self) -> None:
        """Take note that all of a request is there which has no body to be read."""
        self._arrived()

    def _arrived(self) -> None:
        self._read = True
        self._places.arrived(self.call)
        self.call.task = None

    async def reply(
        self, body: bytes, kind: str = JSON, headers: Headers = (), status: int = HTTPStatus.OK
    ) -> None:
        """Answer; returns once the answer has left, but for what a connection buffers."""
        await self.start(status, [("content-length", str(len(body))), *headers], kind)
        if len(body) > SMALL:  # then the end is sent once most of it has been read
            await self.write(body)
            await self.end()
        else:
            await self._sent({"type": "http.response.body", "body": body, "more_body": False})

    async def problem(self, problem: Problem) -> None:
        """Answer with a problem."""
        close = [("connection", "close")] if problem.last or not self._read else []
        body, kind = problem.body, PROBLEM
        if self.scope["path"].startswith("/v2"):  # the Open Inference Protocol has its own form
            body, kind = dumped({"error": problem.detail}), JSON
        await self.reply(body, kind, [*problem.headers, *close], problem.status)

    async def start(self, status: int, headers: Headers, kind: str) -> None:
        """Begin to answer."""
        self.started = True
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        encoded.append((b"content-type", kind.encode()))
        await self._sent({"type": "http.response.start", "status": int(status), "headers": encoded})

    async def write(self, part: bytes) -> None:
        """Send a part of the answer, once enough of those before has been read."""
        await self._sent({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        """End the answer, once enough of it has been read."""
        await self._sent({"type": "http.response.body", "body": b"", "more_body": False})

    async def _sent(self, message: Any) -> None:
        if not self.connection.flow.write_paused:  # else uvicorn waits before it writes
            await self._send(message)
            return
        try:
            async with asyncio.timeout(capacity.UNREAD_STREAM_S):
                await self._send(message)
        except TimeoutError:  # which a connection that nobody reads from would not end of itself
            self.connection.transport.abort()
            raise asyncio.CancelledError from None

    async def _too_large(self, most: int) -> Problem:
        return await self._unread(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most} bytes"
        )

    async def _unread(self, status: HTTPStatus, detail: str) -> Problem:
        """A problem whose request is not read to its end; most callers send all before they read.

        So what they send is dropped for a moment, or else they would not see the answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(capacity.LINGER_S):
                while (await self._receive()).get("more_body"):
                    pass
        return Problem(status, detail, last=True)
