"""RankStream over HTTP: lines of JSON in one body, and one for each as soon as it is answered."""

import asyncio
from typing import Any

from anirank.errors import BackendUnavailable, InvalidQuery, ServingError, quoted
from handlers.facade import capacity
from handlers.facade.calls.kinds import Kind
from handlers.facade.calls.places import Call, Places, no_place
from handlers.facade.methods import no_request
from handlers.facade.protocols.http.caller import HttpCaller
from handlers.facade.protocols.http.exchange import Exchange
from handlers.facade.protocols.http.kinds import RANK, RECOMMEND, JsonKind, request_of
from handlers.facade.protocols.http.methods import Answering, Method
from handlers.facade.protocols.http.problems import problem_of
from handlers.forms.json.body import read_json
from handlers.forms.json.values import is_integer

LINES = "application/x-ndjson"
_KINDS = {"rank": RANK, "recommend": RECOMMEND}
_EXAMPLE = """{"id": 1, "rank": {"candidate_ids": [6, 7, 8], "history": [{"anime_id": 1}]}}
{"id": 2, "recommend": {"top_k": 3}, "timeout": 1.5}
"""
_KEYS = ("id", *_KINDS, "timeout")


class Streaming:
    """Answers streams; so many at once, and of each up to `limits.streamed` requests."""

    def __init__(self, streamed: int) -> None:
        """Take up `streamed` requests of one at a time."""
        self._streamed = streamed
        self._places = Places(
            capacity.RANK_STREAMS, capacity.RANK_STREAMS // capacity.ADDRESS_SHARE
        )

    def method(self) -> Method:
        """The method of the contract."""
        return Method(
            *("RankStream", "POST", "/v1/rank-stream", self.answer, (LINES,)), example=_EXAMPLE
        )

    async def answer(self, answering: Answering, exchange: Exchange, caller: HttpCaller) -> None:
        """Answer every line of a body."""
        body = await exchange.body(answering.most)
        place = Call(caller.peer())
        cap = self._places.take(place)
        if cap is not None:
            await answering.fail(no_place(cap), exchange, caller)
            return
        self._places.arrived(place)  # all of it is there: it makes no room
        try:
            name = answering.service.call_id(caller)
            await exchange.start(200, caller.trailers, LINES)
            await self._lines(answering, exchange, caller, name, body)
            await exchange.end()
        finally:
            self._places.give_back(place)

    async def _lines(
        self, answering: Answering, exchange: Exchange, caller: HttpCaller, name: str, body: bytes
    ) -> None:
        room, writing = asyncio.Semaphore(self._streamed), asyncio.Lock()

        async def take_up(place: int, line: bytes) -> None:
            try:
                reply = await _reply(answering, caller, name, place, line)
                async with writing:
                    await exchange.write(reply + b"\n")
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for place, line in enumerate(body.splitlines()):
                if line.strip():
                    await room.acquire()
                    group.create_task(take_up(place, line))


async def _reply(
    answering: Answering, caller: HttpCaller, name: str, place: int, line: bytes
) -> bytes:
    """The line that answers one; its id is that which it gave, or else its place in the body."""
    ident: int = place
    kind: Kind | None = None
    timeout_s = caller.time_remaining()
    request: Any
    try:
        item = read_json(line)
        if isinstance(item, dict) and is_integer(item.get("id")):
            ident = item["id"]
        kind, request, own_s = _read(item)
        timeout_s = min((each for each in (timeout_s, own_s) if each is not None), default=None)
    except InvalidQuery as error:
        request = error.settled()
    service = answering.service
    if service.ending:
        request = BackendUnavailable("the server ends; this was not computed")
        kind = None
    outcome = await service.answer_streamed(kind, request, caller, f"{name}/{ident}", timeout_s)
    head = b'{"id":%d,' % ident
    if isinstance(outcome, ServingError):
        return head + b'"status":' + problem_of(outcome).body + b"}"
    return head + b'"reply":' + outcome + b"}"


def _read(item: object) -> tuple[JsonKind, Any, float | None]:
    """The kind of a line's request, the request, and the seconds it has."""
    if not isinstance(item, dict):
        raise InvalidQuery("request", f"{quoted(item)} is not a JSON object")
    for key in item:
        if key not in _KEYS:
            raise InvalidQuery(key[:100] or '""', f"is not known; known are {', '.join(_KEYS)}")
    given = [name for name in _KINDS if name in item]
    if len(given) != 1:
        raise no_request(_KINDS)
    seconds = item.get("timeout")
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9
    ):
        raise InvalidQuery("timeout", f"{quoted(seconds)} is not a number of seconds")
    return _KINDS[given[0]], request_of(item[given[0]]), seconds
