"""The methods of anime.ranking.v1.RankingService."""

import asyncio
import functools
import time
from collections.abc import Callable, Hashable, Mapping
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
from handlers.facade.calls.kinds import RANK, RECOMMEND, SIMILAR, Alike, Ranks, parsed
from handlers.facade.calls.pace import Pace
from handlers.facade.calls.places import RETRY_S, Places, no_place
from handlers.facade.calls.recording import Metadata, Recording
from handlers.facade.calls.unread import SMALL, Unread
from handlers.facade.status import FAILURES, Context, abort, code_of, when_over
from handlers.facade.stream import LONG_REPLY, Stream
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.telemetry.request import ObservedRequest
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
        may_write: Callable[[Metadata], bool] = lambda _: True,
    ) -> None:
        """Answer with the versions of `roster`, and take up `limits.streamed` of a stream.

        observer: observes every request. read_apart: reads what is long in one. histories: what
        users have watched since the versions were made. may_write: who may add to them.
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
        self._recording = Recording(
            histories, roster, self._limits, self._observer, may_write, self._counted
        )

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given to answer the service's methods."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Rank": grpc.unary_unary_rpc_method_handler(self.rank),
            "Recommend": grpc.unary_unary_rpc_method_handler(self.recommend),
            "Similar": grpc.unary_unary_rpc_method_handler(self.similar),
            "RankStream": grpc.stream_stream_rpc_method_handler(self.rank_stream),
            "GetModelInfo": grpc.unary_unary_rpc_method_handler(self.get_model_info),
            **self._recording.methods(),
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
        with self._observer.request("GetModelInfo", context) as observed:
            try:
                request = parsed(pb.GetModelInfoRequest, body)
                return bytes(self._roster.describe(request.model_version).SerializeToString())
            except InvalidQuery as error:
                observed.ended_with(failure := error)
        return await abort(context, failure)

    def end(self) -> None:
        """Answer what has been taken up, streams included, and fail the rest with UNAVAILABLE."""
        self._ending = True
        self._recording.end()
        for stream in self._streams:
            stream.end()

    async def _answer(self, kind: Ranks | Alike, body: bytes, context: Context) -> bytes:
        with self._observer.request(kind.method, context) as observed:
            if self._ending:
                outcome: bytes | ServingError = BackendUnavailable("the server ends; ask again")
            else:
                outcome = await self._outcome(kind, body, context.time_remaining(), observed)
                outcome = self._counted(outcome, context)
            observed.ended_with(outcome)
        if isinstance(outcome, ServingError):
            return await abort(context, outcome)
        return outcome

    async def _stream_outcome(
        self,
        context: Context,
        name: str,
        item: pb.RankStreamRequest,
        timeout_s: float | None,
        fault: InvalidQuery | None,
    ) -> bytes | ServingError:
        """What one request of the stream `name` is answered with, within `timeout_s` seconds."""
        with self._observer.request("RankStream", context, f"{name}/{item.id}") as observed:
            outcome = fault or await self._in_time(item, timeout_s, observed, context)
            observed.ended_with(outcome)
        return outcome

    async def _in_time(
        self,
        item: pb.RankStreamRequest,
        timeout_s: float | None,
        observed: ObservedRequest,
        stream: Hashable,
    ) -> bytes | ServingError:
        field = item.WhichOneof("request")
        if field is None:
            return InvalidQuery(
                "request", f"none given, should be one of {', '.join(_OF_A_STREAM)}"
            )
        try:
            async with asyncio.timeout(timeout_s):  # nobody else ends it in time
                kind, request = _OF_A_STREAM[field], getattr(item, field)
                return await self._outcome(kind, request, timeout_s, observed, stream)
        except TimeoutError:
            return DeadlinePassed("the request's timeout passed")

    async def _outcome(
        self,
        kind: Ranks | Alike,
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

    def _counted(self, outcome: bytes | ServingError, context: Context) -> bytes | ServingError:
        """An answer that is counted until it has been read; a failure where there is no room."""
        if isinstance(outcome, ServingError) or len(outcome) <= SMALL:
            return outcome
        peer, size = context.peer(), len(outcome)
        if not self._unread.take(peer, size):
            return Overloaded("earlier answers have not been read", RETRY_S)
        when_over(context, functools.partial(self._unread.give_back, peer, size))
        return outcome

    async def _large_turn(self, observed: ObservedRequest) -> None:
        """Wait until a large message may be read; raises Overloaded where too many wait."""
        waiting = len(self._pace)
        if waiting >= max(self._limits.queued // capacity.LARGE_SHARE, 1):
            raise Overloaded(f"{waiting} large requests wait already", RETRY_S)
        await self._pace.turn(observed.context.peer())
