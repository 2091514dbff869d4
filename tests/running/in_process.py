"""A façade in a thread of the test."""

import asyncio
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.query import Limits
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.server import serve as serve_facade
from handlers.facade.shutdown import Shutdown
from handlers.facade.versions.roster import Roster, ServedVersion

Serve = Callable[..., str]


@pytest.fixture
def serve(toy: Bundle, engine: Engine) -> Iterator[Serve]:
    """Starts façades, each in a thread of its own; a call gives the address of one."""
    with ExitStack() as started:
        known = {"bundle": toy, "engine": engine}
        yield lambda **options: started.enter_context(answering(**{**known, **options}))


@contextmanager
def answering(
    bundle: Bundle,
    engine: Engine,
    backend: Callable[[], Any] | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[str]:
    """A façade, which has ended afterwards; gives its address."""
    ports: queue.Queue[int] = queue.Queue()
    end: list[Callable[[], Any]] = []

    async def answer() -> None:
        shutdown = Shutdown()
        loop = asyncio.get_running_loop()
        end.append(lambda: loop.call_soon_threadsafe(shutdown.request))
        bounds = limits or Limits()
        computes = backend() if backend is not None else EmbeddedBackend(engine)
        roster = Roster(ServedVersion(bundle, computes, bounds))
        started: dict[str, Any] = {"limits": bounds, "started": ports.put, "shutdown": shutdown}
        await serve_facade(roster, "127.0.0.1:0", **started, **options)

    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(asyncio.run, answer())
        while True:
            try:
                address = f"127.0.0.1:{ports.get(timeout=0.1)}"
                break
            except queue.Empty:
                if ended.done():
                    ended.result()
        try:
            yield address
        finally:
            end[0]()
            ended.result(60)
