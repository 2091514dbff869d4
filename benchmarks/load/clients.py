"""The client's processes: kept while a system is measured, their outcomes put together."""

import gc
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import TracebackType

from benchmarks.load.loops import Check, Outcome, Plan, run
from benchmarks.load.transports import Caller

TOGETHER_S = 0.2  # until all have their share and begin
FIRST_S = 60.0  # a process may take to start


def processes() -> int:
    """Half of the cores, so that who answers has as many."""
    return max((os.cpu_count() or 1) // 2, 1)


class Clients:
    """Processes that call one system, for one run after the other.

    with Clients(caller, pool, check) as clients:
        outcome = clients.run(Plan(seconds=5, rate=500))
    """

    def __init__(
        self,
        caller: Caller,
        pool: list[bytes],
        check: Check | None = None,
        count: int | None = None,
    ) -> None:
        """Start `count` processes (by default half of the cores), each with the whole pool."""
        self.count = count or processes()
        # Forking a process in which gRPC has threads breaks both.
        spawn = multiprocessing.get_context("spawn")
        self._together = spawn.Barrier(self.count)
        self._pool = ProcessPoolExecutor(
            self.count,
            mp_context=spawn,
            initializer=_take,
            initargs=(caller, pool, check, self._together),
        )

    def __enter__(self) -> "Clients":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, plan: Plan) -> Outcome:
        """The plan's load from all processes at once; the rate, or what is in flight, is parted."""
        shares = [share for share in _parted(plan, self.count) if share.in_flight != 0]
        whole = Outcome()
        for outcome in self._pool.map(_run, shares, [1 < len(shares) == self.count] * len(shares)):
            whole.add(outcome)
        return whole


def _parted(plan: Plan, count: int) -> list[Plan]:
    each, more = divmod(plan.in_flight or 0, count)
    return [
        replace(
            plan,
            rate=plan.rate / count if plan.rate is not None else None,
            in_flight=None if plan.in_flight is None else each + (at < more),
            seed=plan.seed * count + at,
        )
        for at in range(count)
    ]


_mine: tuple[Caller, list[bytes], Check | None]
_barrier: object


def _take(caller: Caller, pool: list[bytes], check: Check | None, together: object) -> None:
    global _mine, _barrier
    _mine, _barrier = (caller, pool, check), together
    gc.freeze()  # what stands now is never garbage, and need not be looked through


def _run(plan: Plan, together: bool) -> Outcome:
    if not together:
        return run(*_mine, plan, None)
    # No process takes two shares, since each waits here for the others.
    _barrier.wait(FIRST_S)  # type: ignore[attr-defined]  # set by `_take`
    return run(*_mine, plan, time.monotonic() + TOGETHER_S)
