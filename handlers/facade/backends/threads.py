"""Work that may hang, in threads that nobody has to wait for."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

APART = "apart"  # the threads' name


async def in_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns, or raises, in a thread of its own.

    Cancelled, it leaves the thread to itself; so does the end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where no error is

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # nobody waits: the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=APART, daemon=True).start()
    return await future
