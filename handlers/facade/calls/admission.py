"""Who may have a call open: a place for each, and a time for its first message."""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc

from anirank.errors import DeadlinePassed, InvalidQuery, ServingError
from handlers.facade import capacity
from handlers.facade.calls.places import NOT_YET, Call, Places, Turns, no_place
from handlers.facade.status import Context, abort, when_over
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.security.tokens import OPEN_TO_ALL

_RANK_STREAM = f"/{SERVICE}/RankStream"  # whose streams have places of their own
_Behaviour = Callable[[Any, Context], Awaitable[Any]]

log = logging.getLogger(__name__)


class Admission(grpc.aio.ServerInterceptor):
    """Gives each call a place before its message is read, and ends those that send none.

    So many calls of one connection at a time have their turn: they are read and answered. Health
    checks have places of their own, and so have methods that stay open (health's Watch,
    reflection), of which the oldest makes room. A place is free again when the answer is there, and
    a turn when it has left: who reads no answers fills the turns of their own connection.
    """

    def __init__(self, calls: int, observer: Observer) -> None:
        """Give `calls` places to calls; tell `observer` of each that met a cap."""
        self._observer = observer
        patience_s = capacity.FIRST_MESSAGE_S
        self._calls = (
            Places(calls, calls // capacity.ADDRESS_SHARE, patience_s),
            Turns(capacity.CALLS_OF_A_CONNECTION),
        )
        self._checks = (
            Places(capacity.HEALTH_CHECKS, patience_s=patience_s),
            Turns(capacity.CALLS_OF_A_CONNECTION),
        )
        self._lasting = Places(capacity.LASTING_CALLS)
        self._admitting: dict[str, tuple[Any, Any]] = {}  # by method, its handler and ours

    @property
    def places(self) -> Places:
        """Those of calls, which what comes over other protocols takes as well."""
        return self._calls[0]

    @property
    def places_of_checks(self) -> Places:
        """Those of health checks."""
        return self._checks[0]

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's own handler behind a place; None where there is no such method."""
        if len(handler_call_details.invocation_metadata) > capacity.METADATA_ENTRIES:
            return self._refusing(handler_call_details.method)
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        made = self._admitting.get(method)
        if made is None or made[0] is not handler:
            made = self._admitting[method] = handler, self._handler(method, handler)
        return made[1]

    def _refusing(self, method: str) -> Any:
        """A handler for a call with more metadata than any should have, which goes at once."""
        most = f"more than {capacity.METADATA_ENTRIES} entries given"

        async def refuse(_: Any, context: Context) -> NoReturn:
            error = InvalidQuery("metadata", most)
            self._observer.turned_away(method, "metadata", error)
            await abort(context, error)

        return grpc.stream_unary_rpc_method_handler(refuse)

    def _handler(self, method: str, handler: Any) -> Any:
        # Of these two kinds, as they are given a call before its first message has come.
        if not handler.response_streaming:
            make: Any = grpc.stream_unary_rpc_method_handler
            behaviour = self._answering(method, handler.unary_unary)
        else:
            make = grpc.stream_stream_rpc_method_handler
            lasts = self._lasting_behaviour(method, handler)
            behaviour = _guarded(method, handler.stream_stream if method == _RANK_STREAM else lasts)
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def _answering(self, method: str, answer: _Behaviour) -> _Behaviour:
        """The behaviour of a method with one message and one answer: what most calls are."""
        places, turns = self._checks if method == OPEN_TO_ALL else self._calls

        async def admit(_: Any, context: Context) -> Any:
            peer = context.peer()
            call = Call(peer, asyncio.current_task())
            call.cap = places.take(call)
            if call.cap is not None:
                return await self._turn_away(method, call, context)
            try:
                if turns.are_taken(peer):
                    call.since = NOT_YET
                    await turns.take(peer)
                    places.waits(call)
                else:
                    await turns.take(peer)
                when_over(context, functools.partial(turns.give_back, peer))
                message = await context.read()
                places.arrived(call)
                call.task = None
                if message is not grpc.aio.EOF:
                    return await answer(message, context)
            except asyncio.CancelledError:
                if call.task is None or not (call.silent or call.cap):
                    raise
                call.task.uncancel()
            except grpc.aio.BaseError:  # gRPC's own, which it knows
                raise
            except Exception:
                return await _fail(method, context)
            finally:
                places.give_back(call)
            if call.silent or call.cap:
                return await self._turn_away(method, call, context)
            return await _end_without_message(context)

        return admit

    def _lasting_behaviour(self, method: str, handler: Any) -> _Behaviour:
        """That of a method that stays open: it makes room for as long as it lives."""
        places = self._lasting

        async def admit(messages: Any, context: Context) -> Any:
            call = Call(context.peer())
            call.cap = places.take(call)
            if call.cap is None:
                when_over(context, functools.partial(places.give_back, call))
                try:
                    return await _answer_lasting(handler, call, messages, context)
                except TimeoutError:
                    if call.deadline is None or not call.deadline.expired():
                        raise
            return await self._turn_away(method, call, context)

        return admit

    async def _turn_away(self, method: str, call: Call, context: Context) -> NoReturn:
        if call.cap is not None:
            error: ServingError = no_place(call.cap)
        else:
            error = DeadlinePassed(f"no message came within {capacity.FIRST_MESSAGE_S:g} s")
        self._observer.turned_away(method, call.cap or "silence", error)
        await abort(context, error)


def _guarded(method: str, behaviour: _Behaviour) -> _Behaviour:
    """A behaviour whose faults are for the log: gRPC would send their words to the caller."""

    async def guard(messages: Any, context: Context) -> Any:
        try:
            return await behaviour(messages, context)
        except grpc.aio.BaseError:
            raise
        except Exception:
            return await _fail(method, context)

    return guard


async def _fail(method: str, context: Context) -> None:
    """End a call that met what nobody foresaw; within its `except` clause."""
    log.exception("%s failed", method)
    await context.abort(grpc.StatusCode.UNKNOWN, "the server failed; its log says why")


async def _answer_lasting(handler: Any, call: Call, messages: Any, context: Context) -> None:
    of_its_message = None if handler.request_streaming else capacity.FIRST_MESSAGE_S
    async with asyncio.timeout(of_its_message) as call.deadline:
        if not handler.request_streaming:
            messages = await context.read()
            call.deadline.reschedule(None)
        behaviour = handler.stream_stream or handler.unary_stream
        if messages is grpc.aio.EOF:
            await _end_without_message(context)
        elif inspect.iscoroutinefunction(behaviour):
            await behaviour(messages, context)
        else:
            async for reply in behaviour(messages, context):
                await context.write(reply)


async def _end_without_message(context: Context) -> None:
    with contextlib.suppress(grpc.aio.InternalError):  # gRPC has ended the call by itself
        await abort(context, InvalidQuery("request", "the call ended before its message came"))
