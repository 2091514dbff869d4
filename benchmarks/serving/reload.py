"""What callers notice while the façade takes up a new version of the bundle.

    python -m benchmarks.serving.reload --store model_store --name anime

At half of what it can do, open loop: p99 of the requests that were due while a version was loaded,
warmed up and switched to, beside p99 of those before the first switch. Several versions are
published, one after the other. Exit code 1 where p99 grew by more than 1.5 ×, or a request failed.
"""

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from anirank.client.sync import Client
from benchmarks import figures, machine
from benchmarks.load.bench import as_document
from benchmarks.load.clients import Clients
from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Outcome, Plan
from benchmarks.load.requests import RANK, Checked, Proto
from benchmarks.load.transports import GrpcCaller
from benchmarks.load.workload import Lines, Workload
from benchmarks.plots import over_time
from benchmarks.serving.copies import Copies
from benchmarks.systems.processes import Program, end_on_sigterm, program
from benchmarks.systems.systems import facade_address, facade_command
from bundles.bundle import Bundle

MOST_TIMES = 1.5  # that p99 may grow by
SETTLE_S = 1.0  # after the switch, while the old version drains
SWITCH_S = 60.0  # a switch may take
POLL_S = 0.05
LONGEST_S = 600.0

console = Console(highlight=False, width=120)


class NotSwitched(Exception):  # noqa: N818 - named as the other faults of a system are
    """The façade went on with the old version."""


@dataclass(frozen=True)
class Switch:
    """A version's way, on the monotonic clock: published, and answered with."""

    version: str
    published: float
    switched: float


@dataclass(frozen=True)
class Reload:
    """What came of it; before and during are the calls due in those spans."""

    plan: Plan
    outcome: Outcome
    switches: list[Switch]
    capacity: float

    def during(self, *switches: Switch) -> Latencies:
        """Of the calls due between a publication and the end of the switch; by default of all."""
        return Latencies(
            event.seconds
            for event in self.outcome.timeline
            if not event.failed
            and any(_within(event.due, each) for each in switches or self.switches)
        )

    def before(self) -> Latencies:
        """Of the calls due before the first publication."""
        first = self.switches[0].published
        return Latencies(
            event.seconds
            for event in self.outcome.timeline
            if not event.failed and event.due < first
        )

    @property
    def times(self) -> float:
        """How much p99 grew."""
        return self.during().ms(99) / max(self.before().ms(99), 1e-3)

    def times_of_each(self) -> list[float]:
        """The same of each switch alone."""
        before = max(self.before().ms(99), 1e-3)
        return [self.during(each).ms(99) / before for each in self.switches]

    @property
    def held(self) -> bool:
        """Whether it grew by no more than it may, and every request was answered."""
        return self.outcome.flawless and self.times <= MOST_TIMES


def _within(due: float, switch: Switch) -> bool:
    return switch.published <= due < switch.switched + SETTLE_S


def measure(bundle: Bundle, quiet_s: float, reloads: int, options: list[str]) -> Reload:
    """Serve a copy of a bundle with `anirank serve --watch`, and publish it `reloads` times."""
    workload = Workload(Lines.read("200"), Lines.read("100"))
    asks = workload.asks(bundle.histories.user_id, bundle.catalogue.anime_id)
    check = Checked(Proto(), [ask.candidate_ids for ask in asks], workload.top_k)
    pool = [Proto().write(ask) for ask in asks]
    with tempfile.TemporaryDirectory(prefix="anirank-") as folder:
        copies = Copies(bundle, Path(folder))
        copies.stage(reloads)
        with program(watching(copies, *options)) as facade:
            address = facade_address(facade)
            with Clients(GrpcCaller(address, RANK), pool, check) as clients:
                capacity = clients.run(Plan(3.0, in_flight=32)).rate
                seconds = quiet_s * (reloads + 2)
                plan = Plan(min(seconds, LONGEST_S), rate=capacity / 2, timeline=True)
                ended: list[Outcome] = []
                load = threading.Thread(target=lambda: ended.append(clients.run(plan)))
                load.start()
                switches = []
                time.sleep(plan.warm_up_s + quiet_s)
                for _ in range(reloads):
                    switches.append(switch(copies, address, facade))
                    time.sleep(quiet_s / 2)
                load.join()
    return Reload(plan, ended[0], switches, capacity)


def watching(copies: Copies, *options: str) -> list[str | Path]:
    """`anirank serve --watch` on a store of copies."""
    command = facade_command(Bundle.latest(copies.store, copies.name), *options, "--watch")
    at = command.index("--version")  # what watches takes the newest
    return command[:at] + command[at + 2 :]


def switch(copies: Copies, address: str, facade: Program) -> Switch:
    """Publish the next version and wait until it answers; raises NotSwitched where it does not."""
    published = time.monotonic()
    version = copies.publish()
    with Client(address) as client:
        while client.model_info().version != version:
            if time.monotonic() > published + SWITCH_S or not facade.running():
                said = (facade.said.strip().splitlines() or ["nothing"])[-1]
                raise NotSwitched(f"version {version} not served after {SWITCH_S:g} s: {said}")
            time.sleep(POLL_S)
    return Switch(version, published, time.monotonic())


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    parser.add_argument("--quiet", type=float, default=6.0, help="seconds between reloads")
    parser.add_argument("--reloads", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="of the façade")
    parser.add_argument("--output", type=Path, default=figures.FOLDER)
    options = parser.parse_args()
    about = machine.describe()
    end_on_sigterm()
    more = ["--workers", str(options.workers)] if options.workers > 1 else []
    with console.status("measuring"):
        found = measure(
            Bundle.latest(options.store, options.name), options.quiet, options.reloads, more
        )
    before, during = found.before(), found.during()
    took = ", ".join(f"{each.switched - each.published:.1f}" for each in found.switches)
    console.print(
        f"{found.plan.rate:,.0f} requests/s, half of {found.capacity:,.0f}; "
        f"{len(found.switches)} switches of {took} s\n"
        f"p99 before {before.ms(99):.2f} ms ({len(before):,} requests), "
        f"during {during.ms(99):.2f} ms ({len(during):,}): {found.times:.2f} ×, "
        f"limit {MOST_TIMES:g} ×\n"
        f"failed: {dict(found.outcome.failed) or 'none'} {found.outcome.why}\n"
        f"{'reached' if found.held else 'not reached'}"
    )
    _write(options.output, found, about)
    console.print(f"written to {options.output}", soft_wrap=True)
    sys.exit(not found.held)


def _write(folder: Path, found: Reload, about: dict[str, object]) -> None:
    content = {
        "machine": about,
        "run": as_document(found.outcome, found.plan),
        "capacity": found.capacity,
        "switches_s": [each.switched - each.published for each in found.switches],
        "before": {"p99_ms": found.before().ms(99), "histogram": found.before().encode()},
        "during": {"p99_ms": found.during().ms(99), "histogram": found.during().encode()},
        "times": found.times,
        "held": found.held,
    }
    figures.write_json(folder / "reload.json", content)
    events = sorted(found.outcome.timeline)
    began = events[0].due
    marks = [(each.published - began, "published") for each in found.switches]
    marks += [(each.switched - began, "switched") for each in found.switches]
    lines = windows([(e.due - began, e.seconds * 1e3) for e in events if not e.failed], 0.5)
    over_time(
        {"milliseconds": {"p99": lines[99], "p50": lines[50]}},
        marks,
        f"Switching versions at {found.plan.rate:,.0f} requests a second",
        folder / "reload.png",
    )


def windows(
    points: list[tuple[float, float]], width: float
) -> dict[int, tuple[list[float], list[float]]]:
    """p50 and p99 of (seconds, value) points in windows: their middles, and the values."""
    parted: dict[int, list[float]] = {}
    for at, value in points:
        parted.setdefault(int(at / width), []).append(value)
    middles = [(number + 0.5) * width for number in sorted(parted)]
    ordered = [sorted(parted[number]) for number in sorted(parted)]
    return {
        percentile: (middles, [each[(len(each) - 1) * percentile // 100] for each in ordered])
        for percentile in (50, 99)
    }


if __name__ == "__main__":
    main()
