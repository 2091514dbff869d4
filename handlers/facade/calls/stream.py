"""One RankStream: many requests over one call, each answered as soon as it is ready."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError

from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable, InvalidQuery, Overloaded, ServingError
from handlers.engine.query import OTHER_BYTES, Limits
from handlers.facade import capacity
from handlers.facade.calls.pace import Pace
from handlers.facade.calls.places import RETRY_S, Call, Places, no_place
from handlers.facade.calls.unread import Unread
from handlers.facade.status import Context, status_of, when_over
from handlers.forms import sizes

# Anime in an answer that is long: it is written beside the event loop, as it takes a few
# milliseconds, and the whole catalogue's a hundred, in which others would wait.
LONG_REPLY = 1_000

_Answer = Callable[
    [pb.RankStreamRequest, float | None, InvalidQuery | None], Awaitable[bytes | ServingError]
]


class Stream:
    """Reads no further while it holds as many requests as it may, unanswered or unwritten.

    So a caller that sends too much, or does not read its answers, is held back by gRPC's flow
    control, and what is kept for it stays bounded. While nothing is taken up the stream is waited
    for: it makes room for others, and ends after a while.

    call: the stream as one that has a place among others.
    """

    def __init__(
        self,
        context: Context,
        answer: _Answer,
        limits: Limits,
        places: Places,
        unread: Unread,
        pace: Pace,
    ) -> None:
        """Answer what comes over `context`, up to `limits.streamed` requests at a time.

        answer: makes a RankReply's bytes, or a failure, of a request, the seconds it has, and what
        was found wrong in it before it was read, if anything. places: those of streams. unread:
        counts the answers. pace: that of large messages.
        """
        self._context = context
        self._answer = answer
        self._limits = limits
        self._places = places
        self._unread = unread
        self._pace = pace
        self._peer = context.peer()
        self.call = Call(self._peer)
        self._room = asyncio.Semaphore(limits.streamed)
        self._large = asyncio.Semaphore(capacity.LARGE_OF_A_STREAM)
        self._taken_up = 0
        self._writing = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._failure: ServingError | None = None

    async def run(self) -> ServingError | None:
        """Answer until the caller has sent all; says what the call should fail with, if anything.

        Cancelled, it cancels what it has taken up.
        """
        self.call.deadline = asyncio.timeout(capacity.IDLE_STREAM_S)
        with contextlib.suppress(grpc.aio.InternalError):  # the caller has left
            # Else a status could not follow an answer that waits to be read.
            await self._context.send_initial_metadata(())
        try:
            async with self.call.deadline, asyncio.TaskGroup() as group:
                self._reading = group.create_task(self._read(group))
                if self._failure is not None:
                    self._reading.cancel()
        except TimeoutError:
            if self.call.cap is not None:
                return no_place(self.call.cap)
            if self._failure is None:
                seconds = f"{capacity.IDLE_STREAM_S:g} s"
                return BackendUnavailable(f"nothing came over the stream for {seconds}")
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
            fault, large = None, len(body) > OTHER_BYTES
            if large:
                await self._pace.turn(self._context)
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
            self._begin()
            large = large or _answers(request) > LONG_REPLY
            if large:
                await self._large.acquire()
            group.create_task(self._take_up(request, fault, large))
            del request, body

    async def _take_up(
        self, request: pb.RankStreamRequest, fault: InvalidQuery | None, large: bool
    ) -> None:
        outcome = await self._answer(request, self._timeout_s(request), fault)
        reply = _reply(request.id, outcome)
        if not self._unread.take(self._peer, len(reply)):
            outcome = Overloaded("earlier answers have not been read", RETRY_S)
            reply = _reply(request.id, outcome)
        del request, outcome  # which may be large, and the caller slow to read
        if await self._write(reply):
            if large:
                self._large.release()
            self._room.release()
            self._end()

    async def _write(self, reply: bytes) -> bool:
        """Whether a reply has left; else the caller has, or the stream ends."""
        with_grpc = False
        try:
            async with self._writing:  # gRPC writes one message of a call at a time
                with_grpc = True
                async with asyncio.timeout(capacity.UNREAD_STREAM_S):
                    await self._context.write(reply)
                with_grpc = False
            return True
        except grpc.aio.InternalError:
            return False  # the caller has left; gRPC is about to cancel all of this
        except TimeoutError:
            seconds = f"{capacity.UNREAD_STREAM_S:g} s"
            self._failure = Overloaded(f"no answer has been read for {seconds}", RETRY_S)
            self._deadline(0.0)
            return False
        finally:
            read = functools.partial(self._unread.give_back, self._peer, len(reply))
            if with_grpc:  # which keeps it to the end of the call
                when_over(self._context, read)
            else:
                read()

    def _begin(self) -> None:
        self._taken_up += 1
        if self._taken_up == 1 and self.call.cap is None:
            self._places.arrived(self.call)
            self._deadline(None)

    def _end(self) -> None:
        self._taken_up -= 1
        if self._taken_up == 0:
            self._places.waits(self.call)
            self._deadline(capacity.IDLE_STREAM_S)

    def _deadline(self, seconds: float | None) -> None:
        """End the stream after so many seconds; None: not while something is taken up."""
        deadline = self.call.deadline
        if deadline is not None and not deadline.expired():
            now = asyncio.get_running_loop().time()
            deadline.reschedule(None if seconds is None else now + seconds)

    def _timeout_s(self, request: pb.RankStreamRequest) -> float | None:
        """The seconds a request has: its own, and no more than its stream."""
        left: list[float] = []
        if request.HasField("timeout"):
            left.append(request.timeout.seconds + request.timeout.nanos / 1e9)
        if (of_the_stream := self._context.time_remaining()) is not None:
            left.append(of_the_stream)
        return min(left, default=None)


def _answers(request: pb.RankStreamRequest) -> int:
    """How many anime the answer to a request has at most."""
    if request.HasField("rank"):
        given = len(request.rank.candidate_ids)
        return min(request.rank.top_k or given, given)
    return request.recommend.top_k


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
