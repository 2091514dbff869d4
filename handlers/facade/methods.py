"""The methods of anime.ranking.v1.RankingService."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import grpc

from anirank.contract import ranking_pb2 as pb
from anirank.errors import (
    BackendUnavailable,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
    ServingError,
)
from handlers.engine.query import OTHER_BYTES, Limits, LiveHistory, Query
from handlers.facade import capacity
from handlers.facade.batching.batcher import Batcher
from handlers.facade.calls.kinds import RANK, RECOMMEND, SIMILAR, Kind, parsed
from handlers.facade.calls.pace import Pace
from handlers.facade.calls.places import RETRY_S, Places, no_place
from handlers.facade.calls.recording import RECORDING, MayWrite, Recording, RecordingKind
from handlers.facade.calls.stream import LONG_REPLY, Stream
from handlers.facade.calls.unread import SMALL, Unread
from handlers.facade.status import FAILURES, Context, abort, code_of, when_over
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.telemetry.request import Caller, ObservedRequest
from handlers.facade.versions.roster import Roster
from handlers.forms import messages
from handlers.histories.histories import Histories

# What callers are told of a failure of what computes: the log has its address and its words.
_TOLD = {
    BackendUnavailable: "what computes the scores does not answer; ask again",
    DeadlinePassed: "the deadline passed before the answer was there",
}
_OF_A_STREAM = {"rank": RANK, "recommend": RECOMMEND}


class _Methods(grpc.GenericRpcHandler):
    """Finds the method of a call, before gRPC reads any message of it."""

    def __init__(self, methods: Mapping[str, Any], observer: Observer) -> None:
        self._methods = {f"/{SERVICE}/{name}": (name, each) for name, each in methods.items()}
        self._observer = observer

    def service(self, details: Any) -> Any:
        """What answers the call; None where that is not here."""
        found = self._methods.get(details.method)
        if found is None:
            return None
        self._observer.called(found[0])
        return found[1]


class RankingService:
    """Takes messages as bytes, so that bytes that are no message have an error of their own.

    Each failure leaves with its status and its details.
    """

    def __init__(
        self,
        roster: Roster,
        limits: Limits | None = None,
        observer: Observer | None = None,
        read_apart: messages.ReadApart | None = None,
        histories: Histories | None = None,
        may_write: MayWrite = lambda _: True,
    ) -> None:
        """Answer with the versions of `roster`, and take up `limits.streamed` of a stream.

        observer: observes every request. read_apart: reads what is long in one. histories: what
        users have watched since the versions were made. may_write: who may write there over gRPC.
        """
        self._read_apart = read_apart
        self._roster = roster
        self._observer = observer or Observer()
        self._limits = limits or Limits()
        self._streams: set[Stream] = set()
        self._places = Places(
            capacity.RANK_STREAMS, capacity.RANK_STREAMS // capacity.ADDRESS_SHARE
        )
        self._unread = Unread()
        self._long = asyncio.Lock()  # one at a time, or their threads would leave no time to others
        self._pace = Pace(capacity.ROUNDS)  # of large messages and long replies
        self._ending = False
        self._histories = histories
        self._recording, self._may_write = Recording(histories, roster, self._limits), may_write

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given to answer the service's methods."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Rank": grpc.unary_unary_rpc_method_handler(self.rank),
            "Recommend": grpc.unary_unary_rpc_method_handler(self.recommend),
            "Similar": grpc.unary_unary_rpc_method_handler(self.similar),
            "RankStream": grpc.stream_stream_rpc_method_handler(self.rank_stream),
            "GetModelInfo": grpc.unary_unary_rpc_method_handler(self.get_model_info),
            **{
                kind.method: grpc.unary_unary_rpc_method_handler(self._recorder(kind))
                for kind in RECORDING
            },
        }
        return _Methods(methods, self._observer)

    async def rank(self, body: bytes, context: Context) -> bytes:
        """Order the candidates given."""
        return await self._answer(RANK, body, context)

    async def recommend(self, body: bytes, context: Context) -> bytes:
        """Choose from the whole catalogue."""
        return await self._answer(RECOMMEND, body, context)

    async def similar(self, body: bytes, context: Context) -> bytes:
        """Say what is most like one anime or several."""
        return await self._answer(SIMILAR, body, context)

    async def rank_stream(self, _bodies: Any, context: Context) -> None:
        """Answer many requests over one stream."""
        name = self._observer.call_id(context)
        answer = functools.partial(self._stream_outcome, context, name)
        stream = Stream(context, answer, self._limits, self._places, self._unread, self._pace)
        cap = self._places.take(stream.call)
        failure: ServingError | None
        if cap is not None:
            failure = no_place(cap)
        else:
            self._streams.add(stream)
            if self._ending:
                stream.end()
            try:
                failure = await stream.run()
            finally:
                self._streams.discard(stream)
                self._places.give_back(stream.call)
            cap = stream.call.cap
        if cap is not None:
            self._observer.capped("streams", f"{failure}, of a stream")
        if failure is not None:
            self._observer.refused("RankStream", code_of(failure))
            await abort(context, failure)

    async def get_model_info(self, body: bytes, context: Context) -> bytes:
        """Say which model answers."""
        told = self.model_info(lambda: parsed(pb.GetModelInfoRequest, body).model_version, context)
        if isinstance(told, ServingError):
            return await abort(context, told)
        return bytes(told.SerializeToString())

    def model_info(self, wanted: Callable[[], str], caller: Caller) -> pb.ModelInfo | ServingError:
        """Which model answers; `wanted` reads its version, and may raise InvalidQuery."""
        with self._observer.request("GetModelInfo", caller) as observed:
            try:
                return self._roster.describe(wanted())
            except InvalidQuery as error:
                observed.ended_with(failure := error)
        return failure.settled()

    @property
    def limits(self) -> Limits:
        """What one request may hold."""
        return self._limits

    @property
    def ending(self) -> bool:
        """Whether nothing is taken up any more."""
        return self._ending

    def call_id(self, caller: Caller) -> str:
        """The id of a call; see `Observer.call_id`."""
        return self._observer.call_id(caller)

    def end(self) -> None:
        """Answer what has been taken up, streams included, and fail the rest with UNAVAILABLE."""
        self._ending = True
        self._recording.end()
        for stream in self._streams:
            stream.end()

    async def answer(
        self, kind: Kind, request: Any, caller: Caller, timeout_s: float | None
    ) -> tuple[bytes | ServingError, ObservedRequest]:
        """What one call of whichever protocol ends with, in the form of its kind.

        request: one of the kind's, or its bytes. What answers is to be told by `read` once the
        answer has been read.
        """
        with self._observer.request(kind.method, caller) as observed:
            if self._ending:
                outcome: bytes | ServingError = BackendUnavailable("the server ends; ask again")
            else:
                outcome = await self._outcome(kind, request, timeout_s, observed)
                outcome = self._counted(outcome, caller.peer())
            observed.ended_with(outcome)
        return outcome, observed

    async def answer_recording(
        self, kind: RecordingKind, body: bytes, caller: Caller, may_write: MayWrite
    ) -> bytes | ServingError:
        """What one call of histories ends with; what answers is to be told by `read` as well."""
        with self._observer.request(kind.method, caller) as observed:
            outcome = await self._recording.answer(kind, body, caller, may_write)
            outcome = self._counted(outcome, caller.peer())
            observed.ended_with(outcome)
        return outcome

    async def _answer(self, kind: Kind, body: bytes, context: Context) -> bytes:
        outcome, _ = await self.answer(kind, body, context, context.time_remaining())
        return await self._reply(outcome, context)

    def _recorder(self, kind: RecordingKind) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(body: bytes, context: Context) -> bytes:
            outcome = await self.answer_recording(kind, body, context, self._may_write)
            return await self._reply(outcome, context)

        return answer

    async def _reply(self, outcome: bytes | ServingError, context: Context) -> bytes:
        if isinstance(outcome, ServingError):
            return await abort(context, outcome)
        if len(outcome) > SMALL:
            when_over(context, functools.partial(self.read, context.peer(), len(outcome)))
        return outcome

    def read(self, peer: str, size: int) -> None:
        """Take note that an answer of `answer`'s, of `size` bytes, has left, or its caller has."""
        self._unread.give_back(peer, size)

    async def _stream_outcome(
        self,
        context: Context,
        name: str,
        item: pb.RankStreamRequest,
        timeout_s: float | None,
        fault: InvalidQuery | None,
    ) -> bytes | ServingError:
        """What one request of the stream `name` is answered with, within `timeout_s` seconds."""
        field = item.WhichOneof("request")
        if field is None and fault is None:
            fault = no_request(_OF_A_STREAM)
        if field is None or fault is not None:
            kind, request = None, fault
        else:
            kind, request = _OF_A_STREAM[field], getattr(item, field)
        return await self.answer_streamed(kind, request, context, f"{name}/{item.id}", timeout_s)

    async def answer_streamed(
        self,
        kind: Kind | None,
        request: Any,
        caller: Caller,
        name: str,
        timeout_s: float | None,
    ) -> bytes | ServingError:
        """What one of the requests that come over one call is answered with.

        request: a message, or what was wrong with it before it could be read; kind: None then.
        name: the request's id.
        """
        with self._observer.request("RankStream", caller, name) as observed:
            if kind is None:
                outcome: bytes | ServingError = request
            else:
                outcome = await self._in_time(kind, request, timeout_s, observed, caller)
            observed.ended_with(outcome)
        return outcome

    async def _in_time(
        self,
        kind: Kind,
        request: Any,
        timeout_s: float | None,
        observed: ObservedRequest,
        stream: Any,
    ) -> bytes | ServingError:
        try:
            async with asyncio.timeout(timeout_s):  # nobody else ends it in time
                return await self._outcome(kind, request, timeout_s, observed, stream)
        except TimeoutError:
            return DeadlinePassed("the request's timeout passed")

    async def _outcome(
        self,
        kind: Kind,
        request: Any,
        timeout_s: float | None,
        observed: ObservedRequest,
        stream: Hashable = None,
    ) -> bytes | ServingError:
        """What becomes of one request, a call's or a stream's: a reply's bytes, or a failure.

        request: the message, or its bytes. stream: whose it is, which takes turns with others, and
        waits for a place where the queue is full.
        """
        try:
            columns = None
            if isinstance(request, bytes):
                if len(request) > OTHER_BYTES:
                    await self._large_turn(observed)
                request, columns = kind.parse(request, self._limits, self._read_apart)
            version = self._roster.choose(request.model_version, kind.user(request))
            query, live = await self._with_history(kind.query(request, version, columns))
            observed.asked(query, version.name)
            batcher: Batcher[Any, Any] = kind.batcher(version)
            try:
                result, queue_s = await batcher.rank(
                    query, timeout_s, stream is not None, observed, stream
                )
            except (BackendUnavailable, DeadlinePassed) as error:
                error.told = _TOLD[type(error)]
                raise
            if isinstance(result, InvalidQuery):
                return result
            if live:
                result = replace(result, live_history=live)
            observed.answered(result, queue_s)
            if result.listed > LONG_REPLY:
                async with self._long:
                    await self._pace.turn(None)
                    return await asyncio.to_thread(kind.write, version, result, queue_s)
            return kind.write(version, result, queue_s)
        except FAILURES as error:
            return error.settled()

    async def _with_history(self, query: Any) -> tuple[Any, LiveHistory]:
        """A query with what was recorded of its user, and whether there is any."""
        if self._histories is None or not isinstance(query, Query) or query.user_id is None:
            return query, LiveHistory.UNSPECIFIED
        started = time.perf_counter()
        query, live = await self._histories.counted(query)
        self._observer.consulted(live, time.perf_counter() - started)
        return query, live

    def _counted(self, outcome: bytes | ServingError, peer: str) -> bytes | ServingError:
        """An answer, counted until it has been read; a failure where there is no room for it."""
        if isinstance(outcome, ServingError) or self._unread.take(peer, len(outcome)):
            return outcome
        return Overloaded("earlier answers have not been read", RETRY_S)

    async def _large_turn(self, observed: ObservedRequest) -> None:
        """Wait until a large message may be read; raises Overloaded where too many wait."""
        waiting = len(self._pace)
        if waiting >= max(self._limits.queued // capacity.LARGE_SHARE, 1):
            raise Overloaded(f"{waiting} large requests wait already", RETRY_S)
        await self._pace.turn(observed.context.peer())


def no_request(known: Iterable[str]) -> InvalidQuery:
    """What a message of a stream is that holds none of the requests it could."""
    return InvalidQuery("request", f"none given, should be one of {', '.join(known)}")
