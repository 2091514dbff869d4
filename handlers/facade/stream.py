"""One RankStream: many requests over one call, each answered as soon as it is ready."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError

from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable, InvalidQuery, ServingError
from handlers.engine.query import Limits
from handlers.facade.status import Context, status_of
from handlers.forms import sizes

_Answer = Callable[
    [pb.RankStreamRequest, float | None, InvalidQuery | None], Awaitable[bytes | ServingError]
]


class Stream:
    """Reads no further while it holds as many requests as it may, unanswered or unwritten.

    So a caller that sends too much, or does not read its answers, is held back by gRPC's flow
    control, and what is kept for it stays bounded.
    """

    def __init__(self, context: Context, answer: _Answer, limits: Limits) -> None:
        """Answer what comes over `context`, up to `limits.streamed` requests at a time.

        answer: makes a RankReply's bytes, or a failure, of a request, the seconds it has, and what
        was found wrong in it before it was read, if anything.
        """
        self._context = context
        self._limits = limits
        self._answer = answer
        self._room = asyncio.Semaphore(limits.streamed)
        self._writing = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._failure: ServingError | None = None

    async def run(self) -> ServingError | None:
        """Answer until the caller has sent all; says what the call should fail with, if anything.

        Cancelled, it cancels what it has taken up.
        """
        async with asyncio.TaskGroup() as group:
            self._reading = group.create_task(self._read(group))
            if self._failure is not None:
                self._reading.cancel()
        return self._failure

    def end(self) -> None:
        """Answer what has been taken up, take up no more, and fail with UNAVAILABLE."""
        self._failure = BackendUnavailable(
            "the server ends; what has had no answer on this stream was not computed"
        )
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._room.acquire()
            body = await self._context.read()
            if body is grpc.aio.EOF:
                return
            fault = None
            try:
                sizes.check_streamed(body, self._limits)
            except InvalidQuery as error:
                body, fault = sizes.without_request(body), error.settled()
            try:
                request = pb.RankStreamRequest.FromString(body)
            except DecodeError:  # whose id is then not known: no answer could find its place
                name = pb.RankStreamRequest.DESCRIPTOR.full_name
                self._failure = InvalidQuery("request", f"is not a {name}")
                return
            group.create_task(self._take_up(request, fault))

    async def _take_up(self, request: pb.RankStreamRequest, fault: InvalidQuery | None) -> None:
        outcome = await self._answer(request, self._timeout_s(request), fault)
        reply = _reply(request.id, outcome)
        del request, outcome  # which may be large, and the caller slow to read
        async with self._writing:  # gRPC writes one message of a call at a time
            try:
                await self._context.write(reply)
            except grpc.aio.InternalError:
                return  # the caller has left; gRPC is about to cancel all of this
        self._room.release()

    def _timeout_s(self, request: pb.RankStreamRequest) -> float | None:
        """The seconds a request has: its own, and no more than its stream."""
        left: list[float] = []
        if request.HasField("timeout"):
            left.append(request.timeout.seconds + request.timeout.nanos / 1e9)
        if (of_the_stream := self._context.time_remaining()) is not None:
            left.append(of_the_stream)
        return min(left, default=None)


def _reply(request_id: int, outcome: bytes | ServingError) -> bytes:
    """A RankStreamReply, around a RankReply's bytes as they are."""
    if isinstance(outcome, ServingError):
        status = pb.Status.FromString(status_of(outcome).SerializeToString())  # its twin
        return bytes(pb.RankStreamReply(id=request_id, status=status).SerializeToString())
    # protobuf.dev/programming-guides/encoding: fields may follow in any order; a message's tag is
    # its number and wire type 2, then comes its length, seven bits a byte.
    head = bytearray(pb.RankStreamReply(id=request_id).SerializeToString())
    head.append(pb.RankStreamReply.REPLY_FIELD_NUMBER << 3 | 2)
    length = len(outcome)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + outcome
