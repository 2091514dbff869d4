"""What the façade must reach beside the others, as ratios of the same rounds, and what noise hides.

Systems are compared with those of as many workers. A goal is reached where the median over the
rounds reaches it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.serving.floors import BATCH, RECOMMENDED
from benchmarks.serving.measurement import IN_FLIGHT, LIMIT_MS, Figure, Measured
from benchmarks.serving.rounds import Comparison
from benchmarks.systems.systems import PEER_KEYS, WORKERS, keyed

ENGINE_MS, BATCH_MS, RECOMMENDATION_MS = 0.18, 0.15, 2.0
ABOVE_ECHO_MS = 0.5
ECHO_SHARE = 0.45
PEER_TIMES, PEER_RATE_TIMES = 2.5, 3.0
PLAIN_TIMES, PYTRITON_TIMES = 3.0, 2.0
ABOVE_PLAIN_MS = 1.5
OWN_MB = 120.0
MOST_APART = 0.05  # of the façade from itself, for a run that is quiet


@dataclass(frozen=True)
class Verdict:
    """A goal, what was measured, and whether it was reached; None where it was not measured."""

    goal: str
    measured: str
    reached: bool | None

    @property
    def word(self) -> str:
        """The verdict in words."""
        return {True: "reached", False: "not reached", None: "not measured"}[self.reached]


def verdicts(found: Comparison) -> list[Verdict]:
    """Every goal of the comparison."""
    judged = [
        _at_most("engine, one query, one core", _floor(found, "engine"), ENGINE_MS, ",.3f"),
        _at_most(
            f"engine, each of a batch of {BATCH}, one core",
            _floor(found, "batch"),
            BATCH_MS,
            ",.3f",
        ),
        _at_most(
            f"{RECOMMENDED} recommended of the whole catalogue, one core",
            _floor(found, "recommendation"),
            RECOMMENDATION_MS,
        ),
    ]
    for workers in (1, WORKERS):
        judged += _of(found.systems, workers)
    return judged


def _of(found: dict[str, Measured], workers: int) -> Iterator[Verdict]:
    """The goals of the systems of so many workers."""

    def system(key: str) -> Measured | None:
        return found.get(keyed(key, workers))

    def p50(key: str) -> Figure:
        return there.ms(1, 50) if (there := system(key)) else Figure({})

    def rate(key: str) -> Figure:
        return there.rate(32) if (there := system(key)) else Figure({})

    def highest(key: str) -> Figure:
        return there.highest_rate if (there := system(key)) else Figure({})

    def called(key: str) -> str:
        return f", {there.system.name}" if (there := system(key)) else ""

    of = f"{workers} worker{'s' * (workers > 1)}"
    own, over = rate("facade"), rate("over")
    yield _above(
        f"embedded, {of}, 1 in flight: p50 ≤ echo", p50("facade"), p50("echo"), ABOVE_ECHO_MS
    )
    yield _at_least(
        f"embedded, {of}, 32 in flight: ≥ {ECHO_SHARE:.0%} of the echo",
        own,
        rate("echo"),
        ECHO_SHARE,
    )
    best = _best(rate)
    yield _at_least(
        f"embedded, {of}, 32 in flight: ≥ {PEER_TIMES:g} × the best peer{called(best)}",
        own,
        rate(best),
        PEER_TIMES,
    )
    best = _best(highest)
    yield _at_least_highest(
        f"embedded, {of}: highest rate with p99 ≤ {LIMIT_MS:g} ms ≥ {PEER_RATE_TIMES:g} × the best "
        f"peer's{called(best)}",
        highest("facade"),
        highest(best),
        PEER_RATE_TIMES,
    )
    yield _at_least(
        f"over TorchServe, {of}, 32 in flight: ≥ {PLAIN_TIMES:g} × the plain handler",
        over,
        rate("plain"),
        PLAIN_TIMES,
    )
    yield _at_least(
        f"over TorchServe, {of}, 32 in flight: ≥ {PYTRITON_TIMES:g} × PyTriton",
        over,
        rate("pytriton"),
        PYTRITON_TIMES,
    )
    yield _above(
        f"over TorchServe, {of}, 1 in flight: p50 ≤ plain handler",
        p50("over"),
        p50("plain"),
        ABOVE_PLAIN_MS,
    )
    yield _memory(f"embedded, {of}: a worker's own memory ≤ {OWN_MB:g} MB", system("facade"))


def _floor(found: Comparison, name: str) -> Figure:
    by_round = found.floors.get(name, {})
    return Figure({number: latencies.ms(50) for number, latencies in by_round.items()})


def _best(figure: Callable[[str], Figure]) -> str:
    """The key of the peer with the highest median; empty where none was measured."""
    there = [key for key in PEER_KEYS if figure(key)]
    return max(there, key=lambda key: figure(key).median, default="")


def _at_most(what: str, own: Figure, limit_ms: float, form: str = ",.2f") -> Verdict:
    goal = f"{what}: p50 ≤ {limit_ms:g} ms"
    if not own:
        return Verdict(goal, "", None)
    return Verdict(goal, f"{own.text(form)} ms", own.median <= limit_ms)


def _above(what: str, own: Figure, other: Figure, limit_ms: float) -> Verdict:
    goal, apart = f"{what} + {limit_ms:g} ms", own.above(other)
    if not apart:
        return Verdict(goal, "", None)
    said = f"{apart.text('+.2f')} ms: {own.median:.2f} to {other.median:.2f} ms"
    return Verdict(goal, said, apart.median <= limit_ms)


def _at_least(goal: str, own: Figure, other: Figure, least: float) -> Verdict:
    times = own.times(other)
    if not times:
        return Verdict(goal, "", None)
    said = times.text(".0%") if least < 1 else f"{times.text()} ×"
    return Verdict(
        goal, f"{said}: {own.median:,.0f} to {other.median:,.0f}/s", times.median >= least
    )


def _at_least_highest(goal: str, own: Figure, other: Figure, least: float) -> Verdict:
    if not own or not other:
        return Verdict(goal, "", None)
    times = own.median / max(other.median, 1.0)  # probes are not of the same rounds
    said = f"{times:.2f} ×: {own.text(',.0f')} to {other.text(',.0f')}/s"
    return Verdict(goal, said, times >= least)


def _memory(goal: str, facade: Measured | None) -> Verdict:
    if facade is None or facade.own_mb is None:
        return Verdict(goal, "", None)
    largest, _ = facade.own_mb
    return Verdict(goal, f"{largest:,.0f} MB", largest <= OWN_MB)


@dataclass(frozen=True)
class Noise:
    """How far the façade was from itself, by kind of figure, as a share; empty if not measured.

    A difference must exceed it to be one.
    """

    apart: dict[str, float]

    @property
    def loud(self) -> dict[str, float]:
        """Kinds of figures that are further apart than in a quiet run."""
        return {kind: share for kind, share in self.apart.items() if share > MOST_APART}

    def __str__(self) -> str:
        if not self.apart:
            return "A/A: not measured; nothing says how noisy this run was."
        said = ", ".join(f"{kind} {share:.1%}" for kind, share in self.apart.items())
        text = f"A/A: the façade, measured as if it were two systems, is this far apart: {said}."
        if self.loud:
            loud = ", ".join(f"{share:.0%} in {kind}" for kind, share in self.loud.items())
            text += f" This run is too noisy to tell differences below {loud}."
        return text


def noise(found: dict[str, Measured]) -> Noise:
    """The A/A rows beside each other: the largest distance of medians, whatever is in flight."""
    if "facade" not in found or "again" not in found:
        return Noise({})
    one, two = found["facade"], found["again"]
    pairs = {
        "p50": [(one.ms(n, 50), two.ms(n, 50)) for n in IN_FLIGHT],
        "p99": [(one.ms(n, 99), two.ms(n, 99)) for n in IN_FLIGHT],
        "answers/s": [(one.rate(n), two.rate(n)) for n in IN_FLIGHT],
        "highest rate": [(one.highest_rate, two.highest_rate)],
    }
    return Noise(
        {
            kind: max(shares)
            for kind, figures in pairs.items()
            if (shares := [_apart(a, b) for a, b in figures if a.median and b.median])
        }
    )


def _apart(one: Figure, two: Figure) -> float:
    return max(one.median / two.median, two.median / one.median) - 1
