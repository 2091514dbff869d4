"""The end of the process that SIGTERM or Ctrl-C asks for, once or a second time."""

import asyncio
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ShutdownRequested(Exception):  # noqa: N818 - it says what happened, and is no error
    """The process was asked to end before what it waited for was done."""


class Shutdown:
    """What the signals asked for, while entered; to be entered in the event loop.

    with Shutdown() as shutdown:
        version = await shutdown.unless_requested(loader.load("1"))

    requested: a signal came: what is in flight is to end. forced: a second one came: nothing is.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()

    def __enter__(self) -> "Shutdown":
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request)
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

    def request(self) -> None:
        """What a signal does."""
        if self.requested.is_set():
            self.forced.set()
        self.requested.set()

    async def unless_requested(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`; cancels it and raises ShutdownRequested at a signal."""
        return await _unless(self.requested, work)

    async def unless_forced(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`; cancels it and raises ShutdownRequested at a second signal."""
        return await _unless(self.forced, work)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result:
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        waiting.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    raise ShutdownRequested
