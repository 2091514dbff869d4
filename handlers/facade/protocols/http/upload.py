"""A person's own list, as MyAnimeList exports it, in place of a history: the file is the body."""

import asyncio
from typing import Any

from anirank.errors import ExtraMissing, InvalidQuery, MalExportError, Overloaded, ServingError
from handlers.facade.calls.places import RETRY_S
from handlers.facade.protocols.http.caller import HttpCaller
from handlers.facade.protocols.http.exchange import JSON, Exchange
from handlers.facade.protocols.http.kinds import RECOMMEND, VERSION, dumped, request_of
from handlers.facade.protocols.http.methods import Answering, Method, in_time, options_of, timing
from handlers.forms.json.form import RECOMMEND_KEYS
from handlers.forms.mal_export import MOST_BYTES, MalExport, read_mal_export

TYPES = (
    "application/xml",
    "text/xml",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
)
OPTIONS = tuple(key for key in (*RECOMMEND_KEYS, VERSION) if key != "history")
WAITING = 8  # lists that wait while one is read; each is up to 32 MiB
NAME = "the list"  # what errors call the file, whose own name nobody has said


class Upload:
    """Reads one list at a time, in a thread: the largest takes some seconds."""

    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        self._waiting = 0

    def method(self) -> Method:
        """What takes a list."""
        return Method("Recommend", "POST", "/v1/recommend/mal-export", self.answer, TYPES)

    async def answer(self, answering: Answering, exchange: Exchange, caller: HttpCaller) -> None:
        """Recommend by the list in a body; the options of Recommend stand in the query."""
        try:
            if self._waiting > WAITING:
                raise Overloaded(f"{self._waiting} lists wait already", RETRY_S)
            self._waiting += 1
            try:
                item = options_of(exchange, OPTIONS)
                export = await self._read(exchange)
            finally:
                self._waiting -= 1
            told = _told(export, answering.service.limits.history, item)
            request = request_of(item)
        except (InvalidQuery, Overloaded) as error:
            await answering.fail(error.settled(), exchange, caller)
            return
        left_s = caller.time_remaining()
        service = answering.service
        answered = await in_time(service.answer(RECOMMEND, request, caller, left_s), left_s)
        if isinstance(answered, ServingError):
            await answering.fail(answered, exchange, caller)
            return
        outcome, observed = answered
        if isinstance(outcome, ServingError):
            await answering.fail(outcome, exchange, caller)
            return
        try:
            reply = outcome[:-1] + b',"list":' + dumped(told) + b"}"
            await exchange.reply(reply, JSON, [*caller.trailers, *timing(observed)])
        finally:
            service.read(caller.peer(), len(outcome))

    async def _read(self, exchange: Exchange) -> MalExport:
        content = await exchange.body(MOST_BYTES)
        async with self._reading:
            try:
                return await asyncio.to_thread(read_mal_export, content, NAME)
            except (MalExportError, ExtraMissing) as error:
                raise InvalidQuery("body", str(error)) from None


def _told(export: MalExport, most: int, item: dict[str, Any]) -> dict[str, int]:
    """Make a list the history of a request; what there is to say of it."""
    if not export.watched:
        raise InvalidQuery(
            "body", f"{NAME} has {len(export.entries)} anime, of which none was watched"
        )
    history = export.history(most)
    item["history"] = [
        {"anime_id": anime_id, "rating": rating} for anime_id, rating in history.items()
    ]
    return {
        "watched": len(export.watched),
        "rated": sum(entry.score is not None for entry in export.watched),
        "planned": len(export.entries) - len(export.watched),
        "used": len(history),
    }
