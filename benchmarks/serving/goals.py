"""What the façade must reach beside the others, as ratios within one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.load.latencies import Latencies
from benchmarks.serving.measurement import LIMIT_MS, Measured
from benchmarks.systems.systems import PEER_KEYS

ENGINE_TIMES = 1.5
ECHO_SHARE = 0.45
TAIL_TIMES = 4.0
PLAIN_TIMES = 5.0
OWN_BATCHING_TIMES = 1.5
ABOVE_TORCHSERVE_MS = 0.7


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


def verdicts(measured: Mapping[str, Measured], floors: Mapping[str, Latencies]) -> list[Verdict]:
    """Every goal of the comparison, by the systems' keys and the floors' names."""
    # What failed in its second round still has its first.
    there = {key: each for key, each in measured.items() if each.rate(1) and each.rate(32)}
    found = []
    for goal, needs, judge in _GOALS:
        if all(key in there or key in floors for key in needs):
            said, reached = judge(there, floors)
            found.append(Verdict(goal, said, reached))
        else:
            found.append(Verdict(goal, "", None))
    return [*found, *_highest_rates(there)]


def noise(measured: Mapping[str, Measured]) -> str:
    """How far the façade is from itself: what a difference must exceed to be one."""
    if not all(key in measured and measured[key].rate(32) for key in ("facade", "again")):
        return "A/A: not measured"
    one, two = measured["facade"], measured["again"]
    figures = {
        "p50 with 1": (one.ms(1, 50), two.ms(1, 50)),
        "p99 with 32": (one.ms(32, 99), two.ms(32, 99)),
        "answers/s with 32": (one.rate(32), two.rate(32)),
    }
    apart = ", ".join(f"{name} {max(a / b, b / a) - 1:.0%}" for name, (a, b) in figures.items())
    return f"A/A: the façade is as far from itself as this: {apart}"


_Judge = Callable[[Mapping[str, Measured], Mapping[str, Latencies]], tuple[str, bool]]


def _lone(floor: str) -> _Judge:
    def judge(m: Mapping[str, Measured], floors: Mapping[str, Latencies]) -> tuple[str, bool]:
        echo, alone, own = m["echo"].ms(1, 50), floors[floor].ms(50), m["facade"].ms(1, 50)
        limit = echo + ENGINE_TIMES * alone
        return f"{own:.2f} ms, limit {echo:.2f} + {ENGINE_TIMES} × {alone:.2f} = {limit:.2f} ms", (
            own <= limit
        )

    return judge


def _throughput(m: Mapping[str, Measured], _: Mapping[str, Latencies]) -> tuple[str, bool]:
    share = m["facade"].rate(32) / max(m["echo"].rate(32), 1e-9)
    return f"{share:.0%}", share >= ECHO_SHARE


def _tail(m: Mapping[str, Measured], _: Mapping[str, Latencies]) -> tuple[str, bool]:
    p50, p99 = m["facade"].ms(32, 50), m["facade"].ms(32, 99)
    return f"{p99 / p50:.1f} × ({p99:.1f} to {p50:.1f} ms)", p99 <= TAIL_TIMES * p50


def _times(key: str, times: float) -> _Judge:
    def judge(m: Mapping[str, Measured], _: Mapping[str, Latencies]) -> tuple[str, bool]:
        ratio = m["over"].rate(32) / max(m[key].rate(32), 1e-9)
        return f"{ratio:.2f} ×", ratio >= times

    return judge


def _pytriton(m: Mapping[str, Measured], _: Mapping[str, Latencies]) -> tuple[str, bool]:
    over, peer = m["over"], m["pytriton"]
    said = [f"32 in flight: {over.rate(32):,.0f} to {peer.rate(32):,.0f}/s"]
    said.append(f"p99 {over.ms(32, 99):.1f} to {peer.ms(32, 99):.1f} ms")
    above = over.rate(32) > peer.rate(32) and over.ms(32, 99) <= peer.ms(32, 99)
    if over.highest_rate is not None and peer.highest_rate is not None:
        said.append(
            f"p99 ≤ {LIMIT_MS:g} ms: {over.highest_rate:,.0f} to {peer.highest_rate:,.0f}/s"
        )
        above = over.highest_rate > peer.highest_rate
    return "; ".join(said), above


def _lone_over(m: Mapping[str, Measured], _: Mapping[str, Latencies]) -> tuple[str, bool]:
    over, alone = m["over"].ms(1, 50), m["grpc"].ms(1, 50)
    return f"{over - alone:+.2f} ms ({over:.2f} to {alone:.2f})", over - alone <= (
        ABOVE_TORCHSERVE_MS
    )


_GOALS: tuple[tuple[str, tuple[str, ...], _Judge], ...] = (
    (
        f"embedded, 1 in flight: p50 ≤ echo + {ENGINE_TIMES} × raw ONNX Runtime",
        ("echo", "facade", "onnx"),
        _lone("onnx"),
    ),
    (
        f"embedded, 1 in flight: p50 ≤ echo + {ENGINE_TIMES} × engine, one query",
        ("echo", "facade", "engine"),
        _lone("engine"),
    ),
    (f"embedded, 32: ≥ {ECHO_SHARE:.0%} of the echo", ("echo", "facade"), _throughput),
    (f"embedded, 32: p99 ≤ {TAIL_TIMES:g} × p50", ("facade",), _tail),
    (
        f"over TorchServe, 32: ≥ {PLAIN_TIMES:g} × the plain handler",
        ("over", "plain"),
        _times("plain", PLAIN_TIMES),
    ),
    (
        f"over TorchServe, 32: ≥ {OWN_BATCHING_TIMES} × this handler's own batching, gRPC",
        ("over", "grpc"),
        _times("grpc", OWN_BATCHING_TIMES),
    ),
    (
        f"over TorchServe, 32: ≥ {OWN_BATCHING_TIMES} × this handler's own batching, REST",
        ("over", "rest"),
        _times("rest", OWN_BATCHING_TIMES),
    ),
    ("over TorchServe: above PyTriton at the same p99", ("over", "pytriton"), _pytriton),
    (
        f"over TorchServe, 1: p50 ≤ TorchServe alone + {ABOVE_TORCHSERVE_MS} ms",
        ("over", "grpc"),
        _lone_over,
    ),
)


def _highest_rates(measured: Mapping[str, Measured]) -> list[Verdict]:
    found = []
    for key in ("facade", "over"):
        own = measured[key].highest_rate if key in measured else None
        peers = {
            measured[peer].system.name: measured[peer].highest_rate or 0.0
            for peer in PEER_KEYS
            if peer in measured and measured[peer].highest_rate is not None
        }
        name = "embedded" if key == "facade" else "over TorchServe"
        goal = f"{name}: highest rate with p99 ≤ {LIMIT_MS:g} ms above every peer's"
        if own is None or not peers:
            found.append(Verdict(goal, "", None))
            continue
        best = max(peers, key=lambda peer: peers[peer])
        said = f"{own:,.0f}/s; the best of {len(peers)} peers is {best}, {peers[best]:,.0f}/s"
        found.append(Verdict(goal, said, own > peers[best]))
    return found
