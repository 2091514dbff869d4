"""Who may have a call open: a place for each, and a time for its first message."""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from anirank.errors import DeadlinePassed, InvalidQuery, ServingError
from handlers.facade import capacity
from handlers.facade.calls.places import Call, Places, no_place
from handlers.facade.status import Context, abort, when_over
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.security.tokens import OPEN_TO_ALL

_RANK_STREAM = f"/{SERVICE}/RankStream"  # whose streams have places of their own
_Behaviour = Callable[[Any, Context], Awaitable[Any]]
_Answer = Callable[[Any, Places, Call, Any, Context], Awaitable[Any]]

log = logging.getLogger(__name__)


class Admission(grpc.aio.ServerInterceptor):
    """Gives each call a place before its message is read, and ends those that send none.

    So many calls of one connection at a time have their turn: they are read and answered. Health
    checks have places of their own, and so have methods that stay open (health's Watch,
    reflection), of which the oldest makes room. A place is free again when the answer has left.
    """

    def __init__(self, calls: int, observer: Observer) -> None:
        """Give `calls` places to calls; tell `observer` of each that met a cap."""
        self._observer = observer
        self._calls = Places(calls, calls // capacity.ADDRESS_SHARE)
        self._checks = Places(capacity.HEALTH_CHECKS)
        self._lasting = Places(capacity.LASTING_CALLS)
        self._admitting: dict[str, tuple[Any, Any]] = {}  # by method, its handler and ours

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's own handler behind a place; None where there is no such method."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        made = self._admitting.get(method)
        if made is None or made[0] is not handler:
            made = self._admitting[method] = handler, self._handler(method, handler)
        return made[1]

    def _handler(self, method: str, handler: Any) -> Any:
        # Of these two kinds, as they are given a call before its first message has come.
        make: Any = grpc.stream_unary_rpc_method_handler
        answer: _Answer = _answer_one
        places = self._checks if method == OPEN_TO_ALL else self._calls
        if handler.response_streaming:
            make, answer = grpc.stream_stream_rpc_method_handler, _answer_lasting
            places = self._lasting

        async def admit(messages: Any, context: Context) -> Any:
            call = Call(context.peer(), places)
            call.cap = places.take(call)
            if call.cap is None:
                when_over(context, functools.partial(places.give_back, call))
                try:
                    return await answer(handler, places, call, messages, context)
                except TimeoutError:
                    if call.deadline is None or not call.deadline.expired():
                        raise
            error = _error(call.cap)
            self._observer.turned_away(method, call.cap or "silence", error)
            return await abort(context, error)

        behaviour = _guarded(method, handler.stream_stream if method == _RANK_STREAM else admit)
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _guarded(method: str, behaviour: _Behaviour) -> _Behaviour:
    """A behaviour whose faults are for the log: gRPC would send their words to the caller."""

    async def guard(messages: Any, context: Context) -> Any:
        try:
            return await behaviour(messages, context)
        except grpc.aio.BaseError:  # gRPC's own, which it knows
            raise
        except Exception:
            log.exception("%s failed", method)
        await context.abort(grpc.StatusCode.UNKNOWN, "the server failed; its log says why")
        return None

    return guard


async def _answer_one(handler: Any, places: Places, call: Call, _: Any, context: Context) -> Any:
    turns = call.turns
    if turns.locked():
        async with asyncio.timeout(None) as call.deadline:
            await turns.acquire()
    else:
        await turns.acquire()
    try:
        async with asyncio.timeout(capacity.FIRST_MESSAGE_S) as call.deadline:
            message = await context.read()
        places.arrived(call)
        if message is grpc.aio.EOF:
            return await _end_without_message(context)
        return await handler.unary_unary(message, context)
    finally:
        turns.release()


async def _answer_lasting(
    handler: Any, _: Places, call: Call, messages: Any, context: Context
) -> None:
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


def _error(cap: str | None) -> ServingError:
    """What a call ends with that met a cap of its places; None: the time its message may take."""
    if cap is None:
        return DeadlinePassed(f"no message came within {capacity.FIRST_MESSAGE_S:g} s")
    return no_place(cap)
