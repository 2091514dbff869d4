"""The two ways to send: at a rate whatever comes back, or always so many in flight.

Open loop: arrivals are a Poisson process, and a call's latency counts from when it should have been
sent. A server that stalls is then charged for every call that would have come meanwhile (what is
known as coordinated omission leaves them out). Closed loop: the next call waits for an answer, so a
slow server is asked less; it says what a server can do, not what its callers meet.
"""

import asyncio
import selectors
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.latencies import Latencies
from benchmarks.load.transports import Call, Caller, CallFailed

LATE_S = 1e-3  # sent so long after its time, a call was late by the client's fault
MOST = 2_000_000  # calls of one run
BACKLOG_S = 1.0  # of arrivals in flight: latencies are beyond a second, and need no more to show it
DRAIN_S = 5.0  # the last calls may take after the end of the open loop
CHECK_EVERY = 50  # one reply of so many is read and checked

Check = Callable[[bytes, int], None]  # a reply and its request's place in the pool


@dataclass(frozen=True)
class Plan:
    """One run. Exactly one of rate (calls a second) and in_flight is given.

    The first `warm_up_s` seconds are not counted; `seconds` follow. timeline: also keep every call.
    backlog_s: seconds' worth of arrivals in flight, and an open loop ends.
    """

    seconds: float
    rate: float | None = None
    in_flight: int | None = None
    warm_up_s: float = 0.5
    seed: int = 0
    timeline: bool = False
    backlog_s: float = BACKLOG_S


class Event(NamedTuple):
    """A call: when it was due on the monotonic clock, its seconds, and the code it failed with."""

    due: float
    seconds: float
    failed: str = ""


@dataclass
class Outcome:
    """What came of a run, or of several at once: counts, and latencies as a histogram.

    sent: counted calls. asked: those the rate asked for. failed: by code. late: sent late by the
    client. unfinished: without an answer when the run ended; their time until then is among the
    latencies. wrong: sampled replies that were not what was asked for. cpu_s: of the client, for
    `all_calls`, the warm-up's among them.
    """

    seconds: float = 0.0
    asked: int = 0
    sent: int = 0
    late: int = 0
    unfinished: int = 0
    checked: int = 0
    wrong: int = 0
    all_calls: int = 0
    cpu_s: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    why: str = ""  # the first reply that was wrong, or the first failure
    overwhelmed: bool = False
    latencies: Latencies = field(default_factory=Latencies)
    timeline: list[Event] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Counted calls with an answer."""
        return self.sent - self.unfinished - sum(self.failed.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def asked_rate(self) -> float:
        """Arrivals a second; 0 in a closed loop."""
        return self.asked / self.seconds if self.seconds else 0.0

    @property
    def flawless(self) -> bool:
        """Whether every call was answered, and every reply looked at was right."""
        return not (self.failed or self.unfinished or self.wrong or self.overwhelmed)

    def add(self, other: "Outcome") -> None:
        """Take in a run that went on at the same time."""
        self.seconds = max(self.seconds, other.seconds)
        for name in ("asked", "sent", "late", "unfinished", "checked", "wrong", "all_calls"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cpu_s += other.cpu_s
        self.failed.update(other.failed)
        self.why = self.why or other.why
        self.overwhelmed |= other.overwhelmed
        self.latencies.add(other.latencies)
        self.timeline += other.timeline


def arrivals(random: np.random.Generator, rate: float, seconds: float) -> NDArray[np.float64]:
    """When calls are to be sent, in seconds from the start: a Poisson process of `rate`."""
    count = min(int(rate * seconds + 10 * (rate * seconds) ** 0.5) + 10, MOST)
    times = np.cumsum(random.exponential(1 / rate, count))
    return times[times < seconds]


def run(
    caller: Caller, pool: list[bytes], check: Check | None, plan: Plan, start_at: float | None
) -> Outcome:
    """One client's run, in this process; `start_at` is on the monotonic clock, None for now."""
    # Of the selectors select alone sleeps to the microsecond; the others round up to the next
    # millisecond, and would send that late.
    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_run(caller, pool, check, plan, start_at))


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _run(
    caller: Caller, pool: list[bytes], check: Check | None, plan: Plan, start_at: float | None
) -> Outcome:
    async with caller.connect() as call:
        loop = OpenLoop if plan.rate is not None else ClosedLoop
        sending = loop(call, pool, check, plan)
        if start_at is not None:
            await asyncio.sleep(max(start_at - time.monotonic(), 0.0))
        cpu = time.process_time()
        await sending.send()
        outcome = sending.outcome
        outcome.cpu_s = time.process_time() - cpu
    outcome.latencies = Latencies(sending.spans)
    return outcome


class _Loop:
    """What both loops share: one call, counted."""

    def __init__(self, call: Call, pool: list[bytes], check: Check | None, plan: Plan) -> None:
        self._call, self._pool, self._check, self._plan = call, pool, check, plan
        self.outcome = Outcome(seconds=plan.seconds)
        self.spans: list[float] = []
        self._ended = False  # what fails from then on was cancelled by the run itself
        # Clients that run at once begin at different places of the pool.
        self._next = int(np.random.default_rng(plan.seed).integers(len(pool)))

    async def send(self) -> None:
        """The whole run."""
        raise NotImplementedError

    async def _one(self, counted: bool, since: float | None) -> bool:
        """Whether one call was answered; its latency counts from `since`, or from now."""
        place = self._next % len(self._pool)
        self._next += 1
        outcome = self.outcome
        outcome.all_calls += 1
        began = time.monotonic() if since is None else since
        try:
            reply = await self._call(self._pool[place])
        except CallFailed as failure:
            if counted and not self._ended:
                outcome.sent += 1
                outcome.failed[failure.code] += 1
                outcome.why = outcome.why or str(failure)
                self._keep(began, time.monotonic() - began, failure.code)
            return False
        if counted:
            outcome.sent += 1
            self.spans.append(time.monotonic() - began)
            self._keep(began, self.spans[-1])
        if self._check is not None and outcome.all_calls % CHECK_EVERY == 0:
            outcome.checked += 1
            try:
                self._check(reply, place)
            except Exception as error:  # whatever a wrong reply makes its reader raise
                outcome.wrong += 1
                outcome.why = outcome.why or f"{type(error).__name__}: {error}"
        return True

    def _keep(self, due: float, seconds: float, code: str = "") -> None:
        if self._plan.timeline:
            self.outcome.timeline.append(Event(due, seconds, code))


class ClosedLoop(_Loop):
    """So many in flight; each is followed by the next once it is answered."""

    async def send(self) -> None:
        """See `_Loop.send`."""
        in_flight = self._plan.in_flight or 1
        counts_from = time.monotonic() + self._plan.warm_up_s
        ends_at = counts_from + self._plan.seconds

        async def caller() -> None:
            while (now := time.monotonic()) < ends_at and self.outcome.all_calls < MOST:
                if not await self._one(now >= counts_from, None):
                    await asyncio.sleep(0.01)  # a refused caller that asks at once asks too often

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        self.outcome.seconds = max(time.monotonic() - counts_from, 1e-9)


class OpenLoop(_Loop):
    """Calls at their times, whatever comes back."""

    async def send(self) -> None:
        """See `_Loop.send`."""
        plan = self._plan
        rate = plan.rate or 1.0
        random = np.random.default_rng([plan.seed, 1])
        times = arrivals(random, rate, plan.warm_up_s + plan.seconds).tolist()
        self.outcome.asked = sum(at >= plan.warm_up_s for at in times)
        most = int(rate * plan.backlog_s) + 100
        waiting: dict[asyncio.Task[bool], float] = {}  # since when; -1 for the warm-up's
        began = time.monotonic()
        for at in times:
            # Behind its times it sleeps for nothing, which lets answers in.
            await asyncio.sleep(max(began + at - time.monotonic(), 0.0))
            counted = at >= plan.warm_up_s
            self.outcome.late += counted and time.monotonic() - began - at > LATE_S
            task = _task(self._one(counted, began + at))
            waiting[task] = began + at if counted else -1.0
            task.add_done_callback(waiting.pop)
            if len(waiting) > most:
                self.outcome.overwhelmed = True
                break
        if waiting:
            await asyncio.wait([*waiting], timeout=0.5 if self.outcome.overwhelmed else DRAIN_S)
        ended, self._ended = time.monotonic(), True
        unfinished = [since for since in waiting.values() if since >= 0]
        for task in [*waiting]:
            task.cancel()
        if waiting:
            await asyncio.wait([*waiting])
        self.outcome.sent += len(unfinished)
        self.outcome.unfinished = len(unfinished)
        self.spans += [ended - since for since in unfinished]
        if self.outcome.overwhelmed:
            self.outcome.asked = self.outcome.sent
            self.outcome.seconds = max(ended - began - plan.warm_up_s, 1e-9)


def _task(coroutine: Coroutine[Any, Any, bool]) -> "asyncio.Task[bool]":
    return asyncio.get_running_loop().create_task(coroutine)
