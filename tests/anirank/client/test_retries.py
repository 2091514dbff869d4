"""A refusal that says when to come back is followed, within the call's own time."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from anirank.client.aio import AsyncClient
from anirank.client.retries import JITTER, Tries
from anirank.client.sync import Client
from anirank.errors import BackendUnavailable, InvalidQuery, Overloaded

Ask = Callable[..., Any]


def ask_sync(address: str, **options: Any) -> Any:
    with Client(address, **options) as client:
        return client.rank([3])


def ask_aio(address: str, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(address, **options) as client:
            return await client.rank([3])

    return asyncio.run(run())


asks = pytest.mark.parametrize("ask", [ask_sync, ask_aio], ids=["sync", "asyncio"])


@asks
def test_who_was_refused_asks_again_when_told_to(full, held, ask: Ask) -> None:
    with pytest.raises(Overloaded):
        ask(full, retries=0)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, full, retries=10_000, timeout_s=60.0)
        time.sleep(0.2)
        assert not asked.done()
        held.free.set()
        assert len(asked.result(60).ranking) == 1


@asks
def test_who_is_refused_again_and_again_hears_so(full, ask: Ask) -> None:
    with pytest.raises(Overloaded):
        ask(full, timeout_s=60.0)


def test_nobody_waits_for_what_would_come_too_late() -> None:
    assert Tries.within(1.0, 2).pause_s(Overloaded("full", 1.1)) is None


def test_a_pause_is_the_hint_s_and_some_more_so_that_not_all_come_back_at_once() -> None:
    refused = Overloaded("full", 0.5)
    pauses = [Tries.within(10.0, 1).pause_s(refused) for _ in range(100)]
    assert all(pause is not None and 0.5 <= pause <= 0.5 * (1 + JITTER) for pause in pauses)
    assert len(set(pauses)) > 50


def test_only_what_was_refused_with_a_hint_is_asked_again() -> None:
    tries = Tries.within(10.0, 2)
    assert tries.pause_s(BackendUnavailable("gone")) is None
    assert tries.pause_s(InvalidQuery("top_k", "too many")) is None
    assert [tries.pause_s(Overloaded("full", 0.1)) is None for _ in range(3)] == [
        False,
        False,
        True,
    ]
