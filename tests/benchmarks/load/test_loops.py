import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load.clients import Clients
from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Check, Outcome, Plan, arrivals, run
from benchmarks.load.transports import Call, CallFailed

pytestmark = pytest.mark.slow  # each test trains, or starts programs


@dataclass(frozen=True)
class Peer:
    """Answers each call after `answer_s`; the `stalls`-th stalls everything for `stall_s`."""

    answer_s: float = 0.001
    stalls: int = -1
    stall_s: float = 0.0
    fails: int = -1

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Call]:
        calls, free_at = 0, 0.0

        async def call(body: bytes) -> bytes:
            nonlocal calls, free_at
            calls += 1
            now = time.monotonic()
            if calls == self.stalls:
                free_at = now + self.stall_s
            if calls == self.fails:
                raise CallFailed("UNAVAILABLE", "as told")
            await asyncio.sleep(max(free_at - now, 0.0) + self.answer_s)
            return body

        yield call


def wrong(reply: bytes, place: int) -> None:
    raise ValueError(f"{place} is wrong")


def load(peer: Peer, plan: Plan, check: Check | None = None) -> Outcome:
    return run(peer, [b"a", b"b"], check, plan, None)


def test_arrivals_are_a_poisson_process() -> None:
    rate, seconds = 500.0, 200.0
    times = arrivals(np.random.default_rng(1), rate, seconds)
    gaps = np.diff(times)
    assert times[0] >= 0
    assert times[-1] < seconds
    # Mean and spread of an exponential law, within five standard errors.
    assert len(times) == pytest.approx(rate * seconds, abs=5 * (rate * seconds) ** 0.5)
    assert gaps.mean() == pytest.approx(1 / rate, rel=5 / len(gaps) ** 0.5)
    assert gaps.std() == pytest.approx(1 / rate, rel=10 / len(gaps) ** 0.5)
    assert (gaps > 2 / rate).mean() == pytest.approx(np.exp(-2), abs=0.01)
    # Counts in windows apart: variance as large as the mean, and no memory.
    counts = np.bincount(times.astype(int), minlength=int(seconds)).astype(float)
    assert 0.7 < counts.var() / counts.mean() < 1.35
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.02


def test_a_stall_is_charged_to_every_call_that_was_due_meanwhile() -> None:
    stalling = Peer(stalls=100, stall_s=0.5)
    open_loop = load(stalling, Plan(seconds=1.5, rate=200, warm_up_s=0))
    closed_loop = load(stalling, Plan(seconds=1.5, in_flight=1, warm_up_s=0))
    # A third of the calls fell due in the stall: the tenth slowest waited for a good part of it.
    assert open_loop.latencies.ms(90) > 150
    # One call met it where each waits for the one before: its ninth decile knows nothing of it.
    assert closed_loop.latencies.ms(90) < 150
    assert closed_loop.latencies.ms(100) > 400


def test_a_call_counts_from_when_it_was_due_though_the_client_was_late() -> None:
    class Blocking(Peer):
        @asynccontextmanager
        async def connect(self) -> AsyncIterator[Call]:
            calls = 0

            async def call(body: bytes) -> bytes:
                nonlocal calls
                calls += 1
                if calls == 10:
                    time.sleep(0.3)  # the client itself stands still
                return body

            yield call

    outcome = load(Blocking(), Plan(seconds=1, rate=200, warm_up_s=0))
    assert outcome.late > 20
    assert outcome.latencies.ms(99) > 150


def test_asked_and_answered_are_both_told() -> None:
    outcome = load(Peer(), Plan(seconds=1, rate=300, warm_up_s=0.2))
    assert outcome.asked == outcome.sent == outcome.answered == len(outcome.latencies)
    assert outcome.asked_rate == pytest.approx(300, rel=0.3)
    assert outcome.flawless
    assert outcome.all_calls > outcome.sent  # the warm-up is not counted


def test_what_is_not_answered_counts_with_the_time_it_has_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.load.loops.DRAIN_S", 0.2)
    outcome = load(Peer(answer_s=60), Plan(seconds=0.5, rate=100, warm_up_s=0))
    assert outcome.unfinished == outcome.sent == len(outcome.latencies) > 0
    assert outcome.answered == 0
    assert not outcome.failed
    assert outcome.latencies.ms(50) > 200


def test_an_open_loop_ends_early_where_a_second_of_calls_waits() -> None:
    began = time.monotonic()
    outcome = load(Peer(answer_s=60), Plan(seconds=100, rate=500, warm_up_s=0))
    assert outcome.overwhelmed
    assert not outcome.flawless
    assert time.monotonic() - began < 50


def test_a_failure_is_counted_by_its_code_and_no_latency() -> None:
    outcome = load(Peer(fails=5), Plan(seconds=0.5, in_flight=2, warm_up_s=0))
    assert outcome.failed == {"UNAVAILABLE": 1}
    assert "as told" in outcome.why
    assert len(outcome.latencies) == outcome.answered == outcome.sent - 1


def test_replies_are_looked_at() -> None:
    outcome = load(Peer(), Plan(seconds=0.5, in_flight=4, warm_up_s=0), wrong)
    assert outcome.wrong == outcome.checked > 0
    assert "is wrong" in outcome.why
    assert not outcome.flawless


def test_no_more_are_in_flight_than_were_asked_for() -> None:
    counts: list[int] = [0]  # in flight, after each call that began or ended

    class Counting(Peer):
        @asynccontextmanager
        async def connect(self) -> AsyncIterator[Call]:
            async def call(body: bytes) -> bytes:
                counts.append(counts[-1] + 1)
                await asyncio.sleep(0.001)
                counts.append(counts[-1] - 1)
                return body

            yield call

    load(Counting(), Plan(seconds=0.3, in_flight=7, warm_up_s=0))
    assert max(counts) == 7


def test_several_processes_share_the_load_and_their_outcomes_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))  # where processes find `Peer`
    with Clients(Peer(), [b"a"], count=2) as clients:
        closed = clients.run(Plan(seconds=0.5, in_flight=5, warm_up_s=0.1))
        opened = clients.run(Plan(seconds=1, rate=200, warm_up_s=0.1))
        lone = clients.run(Plan(seconds=0.2, in_flight=1, warm_up_s=0))
    assert closed.answered == len(closed.latencies) > 5
    assert opened.asked_rate == pytest.approx(200, rel=0.4)
    assert opened.answered == opened.asked
    assert lone.answered > 0
    assert min(each.cpu_s for each in (closed, opened, lone)) > 0


def test_histograms_merge_without_loss() -> None:
    seconds = np.random.default_rng(2).exponential(0.01, 3_001)
    parts = Latencies(seconds[:1_000]), Latencies(seconds[1_000:])
    whole = Latencies(seconds)
    parts[0].add(parts[1])
    assert len(parts[0]) == 3_001
    for percentile in (0, 50, 90, 99, 99.9, 100):
        assert parts[0].ms(percentile) == whole.ms(percentile)
        exact = np.percentile(seconds, percentile, method="inverted_cdf") * 1e3
        assert whole.ms(percentile) == pytest.approx(exact, rel=2e-3, abs=2e-3)


def test_a_histogram_comes_back_from_its_text() -> None:
    latencies = Latencies([0.000_3, 0.5, 300.0])  # the last is beyond what it holds
    read = Latencies.decode(latencies.encode())
    assert len(read) == 3
    assert [read.ms(p) for p in (0, 50, 100)] == [latencies.ms(p) for p in (0, 50, 100)]
    assert read.ms(100) == pytest.approx(120_000, rel=2e-3)
    assert Latencies().ms(99) == 0


def test_a_run_ends_though_nobody_answers() -> None:
    ended = threading.Event()

    def go() -> None:
        load(Peer(answer_s=0.5), Plan(seconds=0.1, in_flight=3, warm_up_s=0))
        ended.set()

    threading.Thread(target=go, daemon=True).start()
    assert ended.wait(30)
