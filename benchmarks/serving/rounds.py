"""Systems measured in rounds: all of them run, and each is called in its turn alone.

A round gives every system one short load of each kind. What is compared lies seconds apart, in an
order that is drawn anew for each kind and round, so that whatever drifts on the machine falls on
all. Between its turns a system has nothing to do; what it takes nevertheless is measured, and one
that polls is halted by SIGSTOP until its next turn.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import psutil

from benchmarks.load.clients import Clients
from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Plan
from benchmarks.load.requests import Checked, query
from benchmarks.load.transports import Caller
from benchmarks.serving.floors import Floors
from benchmarks.serving.measurement import IN_FLIGHT, Measured, weighed
from benchmarks.serving.memory import own_mb
from benchmarks.serving.search import Search
from benchmarks.systems.processes import cpu_s, relatives
from benchmarks.systems.systems import Running, System, World
from handlers.engine.loading import engine_of
from handlers.engine.query import Ranking

COMPARED = 32  # requests whose answers are compared with the engine's
STARTED_AT_ONCE = 2
FIRST_SHARE = 0.5  # of what a closed loop found, where the search for the highest rate begins

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long is measured: seconds of a load, rounds, and probes of the search in each round.

    warm_up_s: before each load. floor_s: of the floors, in each round. idle_s: of idleness.
    """

    seconds: float = 1.0
    rounds: int = 5
    probes: int = 3
    warm_up_s: float = 0.3
    floor_s: float = 2.0
    idle_s: float = 3.0

    def closed(self, in_flight: int) -> Plan:
        """A closed loop."""
        return Plan(self.seconds, in_flight=in_flight, warm_up_s=self.warm_up_s)

    def open(self, rate: float, seed: int) -> Plan:
        """An open loop."""
        return Plan(self.seconds, rate=rate, warm_up_s=self.warm_up_s, seed=seed)


@dataclass
class Comparison:
    """What was found: of systems by their keys, and of the floors by their names, by round."""

    systems: dict[str, Measured]
    floors: dict[str, dict[int, Latencies]] = field(default_factory=dict)


@dataclass
class Turn:
    """A system that runs, and those who call it."""

    running: Running
    clients: Clients
    halted: list[psutil.Process] = field(default_factory=list)

    def halt(self) -> None:
        """Take its processes off the cores."""
        self.halted = relatives(self.running.pids)
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them run again."""
        self._send(signal.SIGCONT)
        self.halted = []

    def _send(self, number: signal.Signals) -> None:
        for each in self.halted:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)


class Lineup:
    """Systems that run side by side as long as the context lasts.

    turns: by key; who did not start is not among them, and its `failed` says why.
    """

    def __init__(self, found: dict[str, Measured], world: World, say: Say) -> None:
        """Of the systems of `found`."""
        self.turns: dict[str, Turn] = {}
        self._found, self._world, self._say = found, world, say
        self._stacks: list[ExitStack] = []

    def __enter__(self) -> "Lineup":
        try:
            with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
                started = {key: pool.submit(self._start, key) for key in self._found}
            for key, future in started.items():
                with excused(self._found[key]):
                    self.turns[key] = future.result()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self, key: str) -> Turn:
        system, asks = self._found[key].system, self._world.asks
        self._say(f"starting {system.name}")
        stack = ExitStack()
        self._stacks.append(stack)
        running = stack.enter_context(system.start(self._world))
        check = Checked(running.form, [ask.candidate_ids for ask in asks], asks[0].top_k)
        pool = [running.form.write(ask) for ask in asks]
        clients = Clients(running.caller, pool, check if running.answers else None)
        turn = Turn(running, stack.enter_context(clients))
        stack.callback(turn.go_on)  # who is halted does not end
        clients.run(Plan(1.0, in_flight=8, warm_up_s=0))
        return turn

    def _stop(self) -> None:
        with ThreadPoolExecutor(len(self._stacks) or 1) as pool:
            list(pool.map(ExitStack.close, self._stacks))


@contextmanager
def excused(measured: Measured) -> Iterator[None]:
    """Let the others be measured whatever befalls one system, which says so."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        measured.failed = f"failed: {type(error).__name__}: {said}"


def compare(systems: Sequence[System], world: World, effort: Effort, say: Say) -> Comparison:
    """Measure systems in rounds."""
    found = {system.key: Measured(system) for system in systems}
    comparison = Comparison(found)
    with Floors(world.bundle.folder, world.asks) as floors, Lineup(found, world, say) as lineup:
        _compare_answers(found, lineup, world)
        _idle(found, lineup, effort.idle_s, say)
        for number in range(effort.rounds):
            say(f"round {number + 1} of {effort.rounds}: floors")
            for name, latencies in floors.measure(effort.floor_s).items():
                comparison.floors.setdefault(name, {})[number] = latencies
            _round(number, found, lineup, effort, say)
        for key, turn in lineup.turns.items():
            found[key].own_mb = own_mb(turn.running.pids)
    return comparison


def _round(
    number: int, found: dict[str, Measured], lineup: Lineup, effort: Effort, say: Say
) -> None:
    loads: list[int | str] = [*IN_FLIGHT, *(f"probe {n + 1}" for n in range(effort.probes))]
    for at, load in enumerate(loads):
        for key in order(list(lineup.turns), number, at):
            measured = found[key]
            if measured.failed or (isinstance(load, str) and not lineup.turns[key].running.answers):
                continue
            words = f"{load} in flight" if isinstance(load, int) else load
            say(f"round {number + 1} of {effort.rounds}: {measured.system.name}, {words}")
            with excused(measured):
                _visit(measured, lineup.turns[key], load, number, effort)


def order(keys: Sequence[str], number: int, load: int) -> list[str]:
    """The keys as they come in a round's load, by their numbers: another order in each."""
    drawn: list[str] = np.random.default_rng((number, load)).permutation(keys).tolist()
    return drawn


def _visit(measured: Measured, turn: Turn, load: int | str, number: int, effort: Effort) -> None:
    turn.go_on()
    try:
        if isinstance(load, int):
            run = weighed(turn.clients, turn.running, effort.closed(load))
            measured.closed.setdefault(load, {})[number] = run
        else:
            probe(measured, turn, effort)
    finally:
        if turn.running.polls:
            turn.halt()


def probe(measured: Measured, turn: Turn, effort: Effort) -> None:
    """Take one step of the search for the highest rate."""
    if measured.search is None:
        capacity = max(measured.rate(in_flight).median for in_flight in IN_FLIGHT)
        measured.search = Search(max(capacity * FIRST_SHARE, 1.0))
    search = measured.search
    run = weighed(turn.clients, turn.running, effort.open(search.rate, len(search.probes)))
    search.add(run.holds, run.ms(99))


def _idle(found: dict[str, Measured], lineup: Lineup, seconds: float, say: Say) -> None:
    """Measure what systems take when nobody calls, and halt those that poll."""
    say("what systems take when nobody calls")
    before = {key: cpu_s(turn.running.pids) for key, turn in lineup.turns.items()}
    began = time.monotonic()
    time.sleep(seconds)
    for key, turn in lineup.turns.items():
        spent = cpu_s(turn.running.pids) - before[key]
        found[key].idle_share = spent / (time.monotonic() - began)
        if turn.running.polls:
            turn.halt()


def _compare_answers(found: dict[str, Measured], lineup: Lineup, world: World) -> None:
    """Count the requests that each system answers with the engine's anime in its order."""
    asks = world.asks[:COMPARED]
    ranked = engine_of(world.bundle, "onnxruntime").rank([query(ask) for ask in asks])
    wanted = [each.anime_ids.tolist() for each in ranked if isinstance(each, Ranking)]
    for key, turn in lineup.turns.items():
        running = turn.running
        if not running.answers:
            continue
        with excused(found[key]):
            replies = asyncio.run(_replies(running.caller, [running.form.write(a) for a in asks]))
            same = sum(running.form.read(r) == w for r, w in zip(replies, wanted, strict=True))
            found[key].same = same, len(asks)


async def _replies(caller: Caller, bodies: list[bytes]) -> list[bytes]:
    async with caller.connect() as call:
        return [await call(body) for body in bodies]
