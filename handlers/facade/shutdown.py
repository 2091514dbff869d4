"""The end of the process: SIGTERM or Ctrl-C once, or a second time."""

import asyncio
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ended(Exception):  # noqa: N818 - it says what happened, and is no error
    """The process was told to end before what it waited for was done."""


class Ending:
    """What the signals said, while entered; to be entered in the event loop.

    with Ending() as ending:
        version = await ending.unless_told(loader.load("1"))

    told: a signal came: what is in flight is to end. at_once: a second one came: nothing is.
    """

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.at_once = asyncio.Event()

    def __enter__(self) -> "Ending":
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.tell)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def tell(self) -> None:
        """What a signal does."""
        if self.told.is_set():
            self.at_once.set()
        self.told.set()

    async def unless_told(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`; cancels it and raises Ended where a signal comes first."""
        return await _first(work, self.told)

    async def unless_at_once(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`; cancels it and raises Ended where a second signal comes first."""
        return await _first(work, self.at_once)


async def _first(work: Coroutine[Any, Any, Result], event: asyncio.Event) -> Result:
    doing, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((doing, waiting), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
    finally:
        waiting.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait((doing,))
    raise Ended
