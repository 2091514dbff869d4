"""The methods of the contract over HTTP: a table, and what answers each."""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from anirank.errors import DeadlinePassed, InvalidQuery, ServingError, quoted
from handlers.facade.calls.kinds import Kind
from handlers.facade.calls.recording import MayWrite, RecordingKind
from handlers.facade.methods import RankingService
from handlers.facade.protocols.http.caller import HttpCaller
from handlers.facade.protocols.http.exchange import JSON, Exchange, Headers, Refused
from handlers.facade.protocols.http.gate import Endpoint
from handlers.facade.protocols.http.kinds import (
    FORGET,
    HISTORY,
    RANK,
    RECOMMEND,
    RECORD,
    SIMILAR,
    VERSION,
    dumped,
)
from handlers.facade.protocols.http.problems import Problem, problem_of
from handlers.facade.telemetry.request import ObservedRequest
from handlers.forms.json.info import write_info

Result = TypeVar("Result")
Answer = Callable[["Answering", Exchange, HttpCaller], Awaitable[None]]


class Method(NamedTuple):
    """A method over HTTP.

    name: the contract's. verb, path: how it is asked. answer: what answers it. takes: the media
    types of its body. kind: of a method that a body in JSON asks and one answer in JSON ends.
    example: of a body.
    """

    name: str
    verb: str
    path: str
    answer: Answer
    takes: tuple[str, ...] = (JSON,)
    kind: Kind | RecordingKind | None = None
    example: Any = None


class Answering:
    """Answers the methods with a service.

    most: bytes in the body of a request. may_write: who may write histories over HTTP.
    """

    def __init__(self, service: RankingService, most: int, may_write: MayWrite) -> None:
        self.service, self.most, self.may_write = service, most, may_write

    def endpoint(self, method: Method) -> Endpoint:
        """What answers a method."""

        async def answer(exchange: Exchange) -> None:
            try:
                caller = HttpCaller(exchange.scope)
            except InvalidQuery as error:
                raise Refused(problem_of(error)) from None
            if method.verb == "POST":
                _check_type(exchange, caller, method.takes)
            await method.answer(self, exchange, caller)

        return Endpoint(answer)

    async def ask(self, kind: Kind, body: Any, exchange: Exchange, caller: HttpCaller) -> None:
        """Answer what a body asks, or a request that was read already."""
        left_s = caller.time_remaining()
        answered = await in_time(self.service.answer(kind, body, caller, left_s), left_s)
        if isinstance(answered, ServingError):
            await self.fail(answered, exchange, caller)
            return
        outcome, observed = answered
        await self._reply(outcome, exchange, caller, timing(observed))

    async def record(self, kind: RecordingKind, exchange: Exchange, caller: HttpCaller) -> None:
        """Answer what is asked of histories."""
        body = await exchange.body(self.most)
        answer = self.service.answer_recording(kind, body, caller, self.may_write)
        await self._reply(await in_time(answer, caller.time_remaining()), exchange, caller)

    async def _reply(
        self,
        outcome: bytes | ServingError,
        exchange: Exchange,
        caller: HttpCaller,
        headers: Headers = (),
    ) -> None:
        if isinstance(outcome, ServingError):
            await self.fail(outcome, exchange, caller)
            return
        try:
            await exchange.reply(outcome, JSON, [*caller.trailers, *headers])
        finally:
            self.service.read(caller.peer(), len(outcome))

    async def fail(self, error: ServingError, exchange: Exchange, caller: HttpCaller) -> None:
        """Answer with a failure."""
        problem = problem_of(error)
        await exchange.problem(problem._replace(headers=(*problem.headers, *caller.trailers)))


async def in_time(work: Awaitable[Result], timeout_s: float | None) -> Result | DeadlinePassed:
    """The result of `work`, which is cancelled where the time has passed, as gRPC does."""
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            return await work
    except TimeoutError:
        if not deadline.expired():
            raise
        return DeadlinePassed("the deadline passed before the answer was there")


def timing(observed: ObservedRequest) -> Headers:
    """What a reply says of its times, in milliseconds (W3C Server Timing)."""
    if observed.ranking is None:
        return ()
    queue_ms, compute_ms = observed.queue_s * 1e3, observed.ranking.compute_s * 1e3
    return [("server-timing", f"queue;dur={queue_ms:.3f}, compute;dur={compute_ms:.3f}")]


def options_of(exchange: Exchange, known: tuple[str, ...]) -> dict[str, Any]:
    """The options in a request's query, each as JSON where it is, else as text.

    Raises InvalidQuery where one is not known, or given twice.
    """
    found: dict[str, Any] = {}
    try:
        text = exchange.scope["query_string"].decode("ascii")
        given = parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise InvalidQuery("query", f"is not one ({quoted(str(error))})") from error
    for name, value in given:
        if name not in known:
            shown = name[:100]
            raise InvalidQuery(shown or '""', f"is not known; known are {', '.join(known)}")
        if name in found:
            raise InvalidQuery(name, "is given twice")
        found[name] = value if name == VERSION else _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_type(exchange: Exchange, caller: HttpCaller, takes: tuple[str, ...]) -> None:
    given = (caller.header(b"content-type") or b"").decode("latin-1")
    if given.partition(";")[0].strip().lower() not in takes:
        raise Refused(
            Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"content-type is {quoted(given[:100])}, should be {' or '.join(takes)}",
                headers=(("accept-post", ", ".join(takes)),),
                last=True,
            )
        )


async def _asked(kind: Kind, answering: Answering, exchange: Exchange, caller: HttpCaller) -> None:
    await answering.ask(kind, await exchange.body(answering.most), exchange, caller)


async def _recorded(
    kind: RecordingKind, answering: Answering, exchange: Exchange, caller: HttpCaller
) -> None:
    await answering.record(kind, exchange, caller)


async def _model_info(answering: Answering, exchange: Exchange, caller: HttpCaller) -> None:
    await exchange.without_body()
    told = answering.service.model_info(
        lambda: str(options_of(exchange, (VERSION,)).get(VERSION, "")), caller
    )
    if isinstance(told, ServingError):
        await answering.fail(told, exchange, caller)
    else:
        await exchange.reply(dumped(write_info(told)), JSON, caller.trailers)


def of_kind(kind: Kind | RecordingKind, path: str, example: Any) -> Method:
    """A method that takes one request in JSON, and gives one answer."""
    ask: Answer
    if isinstance(kind, RecordingKind):
        ask = functools.partial(_recorded, kind)
    else:
        ask = functools.partial(_asked, kind)
    return Method(kind.method, "POST", path, ask, kind=kind, example=example)


_HISTORY = [{"anime_id": 1, "rating": 9}, {"anime_id": 5}]
ASKED = (
    of_kind(RANK, "/v1/rank", {"candidate_ids": [6, 7, 8], "history": _HISTORY}),
    of_kind(RECOMMEND, "/v1/recommend", {"history": _HISTORY, "top_k": 3, "explain": True}),
    of_kind(SIMILAR, "/v1/similar", {"anime_ids": [1, 5], "top_k": 3}),
    of_kind(RECORD, "/v1/record-watched", {"user_id": 77, "items": _HISTORY, "request_id": "a1"}),
    of_kind(HISTORY, "/v1/get-history", {"user_id": 77}),
    of_kind(FORGET, "/v1/forget", {"user_id": 77}),
    Method("GetModelInfo", "GET", "/v1/model-info", _model_info),
)
