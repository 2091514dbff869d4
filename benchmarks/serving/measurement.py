"""What is known of a system: its runs by round, and the figures that come of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.load.bench import cpu_us
from benchmarks.load.clients import Clients
from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Outcome, Plan
from benchmarks.serving.search import Search
from benchmarks.systems.processes import cpu_s
from benchmarks.systems.systems import Running, System

IN_FLIGHT = (1, 8, 32)
LIMIT_MS = 20.0  # of p99, for a rate to be held
ANSWERED = 0.97  # of what arrived, for a rate to be held


@dataclass(frozen=True)
class Figure:
    """What was measured in several rounds, by their numbers: the median, and quartiles around it.

    False where there is no round.
    """

    by_round: Mapping[int, float]

    def __bool__(self) -> bool:
        return bool(self.by_round)

    @cached_property
    def quartiles(self) -> tuple[float, float, float]:
        """The lower quartile, the median, the upper quartile; zeros where nothing was measured."""
        if not self:
            return 0.0, 0.0, 0.0
        low, median, high = np.percentile(list(self.by_round.values()), (25, 50, 75)).tolist()
        return low, median, high

    @property
    def median(self) -> float:
        """The middle one."""
        return self.quartiles[1]

    def text(self, form: str = ",.2f") -> str:
        """Median and quartiles: `2.31 (2.20–2.44)`; the median alone of one round."""
        low, median, high = (f"{each:{form}}" for each in self.quartiles)
        return f"{median} ({low}–{high})" if len(self.by_round) > 1 else median

    def with_(self, other: "Figure", way: Callable[[float, float], float]) -> "Figure":
        """What `way` makes of both in each round that has both."""
        common = sorted(self.by_round.keys() & other.by_round.keys())
        return Figure({each: way(self.by_round[each], other.by_round[each]) for each in common})

    def times(self, other: "Figure") -> "Figure":
        """How many times the other it is, round by round."""
        return self.with_(other, lambda own, others: own / max(others, 1e-9))

    def above(self, other: "Figure") -> "Figure":
        """By how much it is above the other, round by round."""
        return self.with_(other, lambda own, others: own - others)

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"median": self.median, "quartiles": [self.quartiles[0], self.quartiles[2]]}


@dataclass
class Run:
    """One load and what came of it; server_cpu_us: microseconds of a core a call."""

    plan: Plan
    outcome: Outcome
    server_cpu_us: float

    def ms(self, percentile: float) -> float:
        """Milliseconds."""
        return self.outcome.latencies.ms(percentile)

    @property
    def holds(self) -> bool:
        """Whether an open loop's rate was held within the limit."""
        outcome = self.outcome
        answered = outcome.answered >= ANSWERED * outcome.asked
        return outcome.flawless and answered and self.ms(99) <= LIMIT_MS

    @property
    def client_share(self) -> float:
        """How much of a core the client took."""
        return self.outcome.cpu_s / (self.outcome.seconds + self.plan.warm_up_s)


def weighed(clients: Clients, running: Running, plan: Plan) -> Run:
    """A run, and what it cost the server."""
    before = cpu_s(running.pids)
    outcome = clients.run(plan)
    spent = cpu_s(running.pids) - before
    return Run(plan, outcome, spent / max(outcome.all_calls, 1) * 1e6)


@dataclass
class Measured:
    """All that is known of a system.

    closed: by how many were in flight and by round. same: how many answers are the engine's, of how
    many. idle_share: how much of a core it takes when nobody calls. own_mb: memory of its own (see
    `memory.own_mb`), of the largest process and of all. failed: why it could not be measured any
    further, one line.
    """

    system: System
    closed: dict[int, dict[int, Run]] = field(default_factory=dict)
    search: Search | None = None
    same: tuple[int, int] | None = None
    idle_share: float = 0.0
    own_mb: tuple[float, float] | None = None
    failed: str = ""

    def rate(self, in_flight: int) -> Figure:
        """Answers a second."""
        return self._figure(in_flight, lambda run: run.outcome.rate)

    def ms(self, in_flight: int, percentile: float) -> Figure:
        """Milliseconds."""
        return self._figure(in_flight, lambda run: run.ms(percentile))

    def server_us(self, in_flight: int) -> Figure:
        """Microseconds of a core that a call costs the server."""
        return self._figure(in_flight, lambda run: run.server_cpu_us)

    def client_us(self, in_flight: int) -> Figure:
        """The same of the client."""
        return self._figure(in_flight, lambda run: cpu_us(run.outcome))

    def client_share(self, in_flight: int) -> Figure:
        """How much of a core the client took."""
        return self._figure(in_flight, lambda run: run.client_share)

    @property
    def highest_rate(self) -> Figure:
        """Arrivals a second that half of the probes held, by the number of the probe."""
        return Figure(self.search.rates() if self.search else {})

    def latencies(self, in_flight: int) -> Latencies:
        """Of all rounds together."""
        whole = Latencies()
        for run in self.closed.get(in_flight, {}).values():
            whole.add(run.outcome.latencies)
        return whole

    def faults(self) -> str:
        """What went wrong in the closed loops, in short; empty if nothing did."""
        outcomes = [run.outcome for runs in self.closed.values() for run in runs.values()]
        counts = sum(sum(each.failed.values()) + each.wrong for each in outcomes)
        why = next((each.why for each in outcomes if each.why), "")
        return f"{counts} faults ({why})" if counts else ""

    def _figure(self, in_flight: int, of: Callable[[Run], float]) -> Figure:
        return Figure({number: of(run) for number, run in self.closed.get(in_flight, {}).items()})
