"""A system measured: closed loops, the highest rate it holds, and the cores it takes for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.bench import as_document
from benchmarks.load.clients import Clients
from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Outcome, Plan
from benchmarks.load.requests import Checked, query
from benchmarks.load.transports import Caller
from benchmarks.systems.processes import cpu_s
from benchmarks.systems.systems import Running, System, World
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Ranking

IN_FLIGHT = (1, 8, 32)
LIMIT_MS = 20.0  # of p99, for a rate to be held
NEAR = 2.0  # times the limit
ANSWERED = 0.97  # of what arrived, for a rate to be held
COMPARED = 32  # requests whose answers are compared with the engine's
ABOVE = 1.15  # times the closed loop's throughput, where the search for the highest rate begins

Say = Callable[[str], None]


@dataclass
class Run:
    """One load and what came of it; server_cpu_us: microseconds of a core a call."""

    plan: Plan
    outcome: Outcome
    server_cpu_us: float

    @property
    def p99_ms(self) -> float:
        """Milliseconds."""
        return self.outcome.latencies.ms(99)

    @property
    def holds(self) -> bool:
        """Whether an open loop's rate was held within the limit."""
        outcome = self.outcome
        answered = outcome.answered >= ANSWERED * outcome.asked
        return outcome.flawless and answered and self.p99_ms <= LIMIT_MS

    @property
    def near(self) -> bool:
        """Whether an open loop's rate was missed by little."""
        return not self.outcome.overwhelmed and self.p99_ms <= NEAR * LIMIT_MS


@dataclass
class Measured:
    """All that is known of a system; failed: why it could not be measured, one line."""

    system: System
    closed: dict[int, list[Run]] = field(default_factory=dict)
    opened: list[Run] = field(default_factory=list)
    same: tuple[int, int] | None = None  # answers as the engine gives them, of how many
    failed: str = ""

    def rate(self, in_flight: int) -> float:
        """Answers a second over all rounds; 0 where it was not measured."""
        outcomes = [run.outcome for run in self.closed.get(in_flight, [])]
        seconds = sum(outcome.seconds for outcome in outcomes)
        return sum(outcome.answered for outcome in outcomes) / seconds if seconds else 0.0

    def latencies(self, in_flight: int) -> Latencies:
        """Of all rounds."""
        whole = Latencies()
        for run in self.closed.get(in_flight, []):
            whole.add(run.outcome.latencies)
        return whole

    def ms(self, in_flight: int, percentile: float) -> float:
        """Milliseconds."""
        return self.latencies(in_flight).ms(percentile)

    def cpu_us(self, in_flight: int) -> tuple[float, float]:
        """Microseconds of a core a call costs the server and the client."""
        runs = self.closed.get(in_flight, [])
        calls = sum(run.outcome.all_calls for run in runs)
        client = sum(run.outcome.cpu_s for run in runs) * 1e6
        server = sum(run.server_cpu_us * run.outcome.all_calls for run in runs)
        return (server / calls, client / calls) if calls else (0.0, 0.0)

    @property
    def highest_rate(self) -> float | None:
        """Arrivals a second, the most that were held; None where the search was not made."""
        held = [run.outcome.asked_rate for run in self.opened if run.holds]
        return max(held, default=0.0) if self.opened else None

    def faults(self) -> str:
        """What went wrong in the closed loops, in short; empty if nothing did."""
        outcomes = [run.outcome for runs in self.closed.values() for run in runs]
        counts = sum(sum(each.failed.values()) + each.wrong for each in outcomes)
        why = next((each.why for each in outcomes if each.why), "")
        return f"{counts} faults ({why})" if counts else ""

    def to_document(self) -> dict[str, Any]:
        """As JSON."""

        def document(run: Run) -> dict[str, Any]:
            return as_document(run.outcome, run.plan) | {"server_cpu_us": run.server_cpu_us}

        return {
            "name": self.system.name,
            "failed": self.failed,
            "same_answers": self.same,
            "highest_rate": self.highest_rate,
            "closed": {str(n): [document(run) for run in runs] for n, runs in self.closed.items()},
            # Without histograms, which the plots do not need and a small file has no room for.
            "open": [
                _without(document(run), "histogram") | {"holds": run.holds} for run in self.opened
            ],
        }


def _without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


@dataclass(frozen=True)
class Effort:
    """How long is measured: seconds of a run, rounds, and steps of the search for the rate.

    warm_up_s: before each run; twice as long before the first.
    """

    seconds: float = 3.0
    rounds: int = 2
    steps: int = 6
    warm_up_s: float = 0.5

    def closed(self, in_flight: int) -> Plan:
        """A closed loop."""
        return Plan(self.seconds, in_flight=in_flight, warm_up_s=self.warm_up_s)

    def open(self, rate: float, seed: int) -> Plan:
        """An open loop."""
        return Plan(self.seconds, rate=rate, warm_up_s=self.warm_up_s, seed=seed)


def measure(measured: Measured, world: World, effort: Effort, search: bool, say: Say) -> None:
    """Start a system, add its figures to `measured`, and stop it."""
    say("starting")
    with measured.system.start(world) as running:
        form = running.form
        if running.answers:
            measured.same = same_answers(running, world)
        check = Checked(form, [ask.candidate_ids for ask in world.asks], world.asks[0].top_k)
        pool = [form.write(ask) for ask in world.asks]
        with Clients(running.caller, pool, check if running.answers else None) as clients:
            clients.run(Plan(2 * effort.warm_up_s, in_flight=8, warm_up_s=0))
            for in_flight in IN_FLIGHT:
                say(f"{in_flight} in flight")
                run = weighed(clients, running, effort.closed(in_flight))
                measured.closed.setdefault(in_flight, []).append(run)
            if search and effort.steps:
                capacity = max(measured.rate(in_flight) for in_flight in IN_FLIGHT)
                measured.opened = highest_rate(clients, running, capacity, effort, say)


def weighed(clients: Clients, running: Running, plan: Plan) -> Run:
    """A run, and what it cost the server."""
    before = cpu_s(running.pids)
    outcome = clients.run(plan)
    spent = cpu_s(running.pids) - before
    return Run(plan, outcome, spent / max(outcome.all_calls, 1) * 1e6)


def highest_rate(
    clients: Clients, running: Running, capacity: float, effort: Effort, say: Say
) -> list[Run]:
    """The steps of a bisection for the highest rate that is held.

    A rate that is missed by little is tried once more: p99 of a few seconds is a matter of luck.
    """
    low, high, runs = 0.0, capacity * ABOVE, []
    for step in range(effort.steps):
        rate = max((low + high) / 2, 1.0)
        for again in range(2):
            say(f"{rate:,.0f}/s asked for")
            run = weighed(clients, running, effort.open(rate, 2 * step + again))
            runs.append(run)
            if run.holds or not run.near:
                break
        low, high = (rate, high) if run.holds else (low, rate)
    return runs


def same_answers(running: Running, world: World) -> tuple[int, int]:
    """How many of a few requests are answered with the engine's anime in the engine's order."""
    asks = world.asks[:COMPARED]
    bodies = [running.form.write(ask) for ask in asks]
    replies = asyncio.run(_replies(running.caller, bodies))
    ranked = engine(world).rank([query(ask) for ask in asks])
    same = 0
    for reply, ranking in zip(replies, ranked, strict=True):
        assert isinstance(ranking, Ranking)
        same += running.form.read(reply) == ranking.anime_ids.tolist()
    return same, len(asks)


def engine(world: World) -> Engine:
    """The engine whose answers are the reference."""
    from handlers.engine.onnx_graph import OnnxGraph

    return Engine(world.bundle, GraphScorer(world.bundle, OnnxGraph(world.bundle)))


async def _replies(caller: Caller, bodies: list[bytes]) -> list[bytes]:
    async with caller.connect() as call:
        return [await call(body) for body in bodies]
