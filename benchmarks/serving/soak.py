"""Ten minutes under load, reloads and killed workers: flat memory, no errors but those promised.

    python -m benchmarks.serving.soak --store model_store --name anime
    python -m benchmarks.serving.soak --backend torchserve

Open loop at 70 % of what the façade was found to do. With the embedded backend it has two workers
and watches its store: versions are published meanwhile, and its workers killed with SIGKILL. With
`--backend torchserve` it is TorchServe's worker that is killed. Exit code 1 where something did not
hold.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

from benchmarks import figures, machine
from benchmarks.load.bench import as_document
from benchmarks.load.clients import Clients
from benchmarks.load.loops import Event, Outcome, Plan
from benchmarks.load.requests import RANK, Checked, Proto
from benchmarks.load.transports import GrpcCaller
from benchmarks.load.workload import Lines, Workload
from benchmarks.plots import over_time
from benchmarks.serving.copies import Copies
from benchmarks.serving.memory import FACADE, WORKER, Weight, growth, kind_of, weighed
from benchmarks.serving.reload import watching, windows
from benchmarks.systems.processes import (
    Program,
    end_on_sigterm,
    program,
    relatives,
)
from benchmarks.systems.systems import CONNECTIONS, WORKERS, facade_address, facade_command
from bundles.bundle import Bundle

PROMISED = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
TIMEOUT_S = 2.0  # of a call
SAMPLE_S = 1.0
SETTLED = 0.25  # of the time, after which memory should not grow any more
GROWTH = 0.05  # of its median that memory may grow by over the rest, and still be flat
KEPT = 2  # versions that stay in the store

console = Console(highlight=False, width=120)


@dataclass
class Soak:
    """What came of it; seconds are on the monotonic clock."""

    plan: Plan
    outcome: Outcome
    capacity: float
    memory: list[Weight] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """How much memory grew after it had settled, as a share of its median."""
        return growth(self.memory[int(len(self.memory) * SETTLED) :])

    def faults(self) -> list[str]:
        """What did not hold; empty where all did."""
        outcome, found = self.outcome, []
        if others := {code: n for code, n in outcome.failed.items() if code not in PROMISED}:
            found.append(f"errors that were not promised: {others}")
        if outcome.unfinished:
            found.append(f"{outcome.unfinished} requests were never answered")
        if outcome.wrong:
            found.append(f"{outcome.wrong} of {outcome.checked} replies read were wrong")
        if outcome.overwhelmed or not outcome.answered:
            found.append("the façade fell behind for good")
        if self.growth > GROWTH:
            found.append(f"memory grew by {self.growth:.1%}, should be at most {GROWTH:.0%}")
        return found


class Trouble:
    """Publishes and kills at its times, until told to end."""

    def __init__(self, pid: int, kill_every_s: float, reload_every_s: float) -> None:
        """For the façade of this process id; 0 seconds is never."""
        self.events: list[tuple[float, str]] = []
        self.memory: list[Weight] = []
        self._pid = pid
        self._kill_every_s, self._reload_every_s = kill_every_s, reload_every_s
        self._random = random.Random(0)

    def until(self, ended: threading.Event, copies: Copies | None) -> None:
        """Trouble and weigh the façade."""
        began = time.monotonic()
        kills = reloads = 1
        while not ended.wait(SAMPLE_S):
            now = time.monotonic()
            self.memory.append(weighed(self._pid))
            if self._kill_every_s and now - began > kills * self._kill_every_s:
                kills += 1
                self._kill()
            if copies and self._reload_every_s and now - began > reloads * self._reload_every_s:
                reloads += 1
                self.events.append((now, "published"))
                version = copies.publish()
                copies.withdraw(str(int(version) - KEPT))

    def _kill(self) -> None:
        workers = _workers(self._pid)
        if workers:
            with suppress(psutil.NoSuchProcess):
                self._random.choice(workers).send_signal(signal.SIGKILL)
                self.events.append((time.monotonic(), "killed"))


def _workers(pid: int) -> list[psutil.Process]:
    """The workers of a façade: TorchServe's where it has one, else its own processes."""
    children = [each for each in relatives([pid]) if each.pid != pid]
    kinds = {kind: [c for c in children if kind_of(c) == kind] for kind in (WORKER, FACADE)}
    return kinds[WORKER] or [each for each in kinds[FACADE] if each.ppid() == pid]


def soak(
    bundle: Bundle, options: argparse.Namespace, say: Callable[[str], None] = lambda _: None
) -> Soak:
    """Serve, load, trouble and weigh."""
    workload = Workload(Lines.read("200"), Lines.read("100"))
    asks = workload.asks(bundle.histories.user_id, bundle.catalogue.anime_id)
    check = Checked(Proto(), [ask.candidate_ids for ask in asks], workload.top_k)
    pool = [Proto().write(ask) for ask in asks]
    with tempfile.TemporaryDirectory(prefix="anirank-") as folder:
        copies = Copies(bundle, Path(folder))
        with program(_command_line(copies, options)) as facade:
            caller = GrpcCaller(
                facade_address(facade), RANK, connections=CONNECTIONS, timeout_s=TIMEOUT_S
            )
            with Clients(caller, pool, check) as clients:
                say("finding what it can do")
                capacity = clients.run(Plan(5.0, in_flight=32)).rate
                plan = Plan(
                    options.minutes * 60,
                    rate=max(capacity * options.share, 1.0),
                    timeline=True,
                    backlog_s=4 * TIMEOUT_S,  # a killed worker may leave some waiting
                )
                say(f"{plan.rate:,.0f} requests/s for {options.minutes:g} minutes")
                return _troubled(clients, plan, capacity, facade, copies, options)


def _troubled(
    clients: Clients,
    plan: Plan,
    capacity: float,
    facade: Program,
    copies: Copies,
    options: argparse.Namespace,
) -> Soak:
    trouble = Trouble(facade.pid, options.kill_every, options.reload_every)
    ended = threading.Event()
    watched = copies if options.backend == "embedded" else None
    thread = threading.Thread(target=trouble.until, args=(ended, watched))
    thread.start()
    try:
        outcome = clients.run(plan)
    finally:
        ended.set()
        thread.join()
    found = Soak(plan, outcome, capacity, trouble.memory, trouble.events)
    if not facade.running():
        found.outcome.overwhelmed = True
        console.print(f"the façade ended: {facade.said[-500:]}", soft_wrap=True)
    return found


def _command_line(copies: Copies, options: argparse.Namespace) -> list[str | Path]:
    if options.backend == "torchserve":
        bundle = Bundle.latest(copies.store, copies.name)
        return facade_command(bundle, "--backend", "torchserve")
    workers = ["--workers", str(options.workers)] if options.workers > 1 else []
    return watching(copies, *workers)


def main() -> None:
    """Soak, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    parser.add_argument("--backend", choices=("embedded", "torchserve"), default="embedded")
    parser.add_argument("--workers", type=int, default=WORKERS, help="of the façade, embedded")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the capacity found")
    parser.add_argument("--kill-every", type=float, default=45.0, help="seconds; 0: never")
    parser.add_argument("--reload-every", type=float, default=60.0, help="seconds; 0: never")
    parser.add_argument("--output", type=Path, default=figures.FOLDER)
    options = parser.parse_args()
    about = machine.describe()
    end_on_sigterm()
    with console.status("starting") as status:
        found = soak(Bundle.latest(options.store, options.name), options, status.update)
    outcome, faults = found.outcome, found.faults()
    happened = Counter(kind for _, kind in found.events)
    console.print(
        f"{found.plan.rate:,.0f} requests/s of {found.capacity:,.0f} for {outcome.seconds:,.0f} s: "
        f"{happened['published']} versions published, {happened['killed']} workers killed\n"
        f"answered {outcome.answered:,} of {outcome.sent:,} "
        f"({outcome.answered / max(outcome.sent, 1):.4%}); "
        f"failed: {dict(outcome.failed) or 'none'}\n"
        f"p50 {outcome.latencies.ms(50):.1f}, p99 {outcome.latencies.ms(99):.1f}, "
        f"p99.9 {outcome.latencies.ms(99.9):.1f} ms\n"
        f"memory {np.median([each.total for each in found.memory] or [0]):,.0f} MiB, "
        f"{found.growth:+.1%} after it had settled\n"
        f"{'held' if not faults else 'not held: ' + '; '.join(faults)}",
        soft_wrap=True,
    )
    _write(options, found, about)
    console.print(f"written to {options.output}", soft_wrap=True)
    sys.exit(bool(faults))


def _write(options: argparse.Namespace, found: Soak, about: dict[str, object]) -> None:
    stem = f"soak-{options.backend}"
    timeline = sorted(found.outcome.timeline) or [Event(0.0, 0.0)]
    began = timeline[0].due
    content = {
        "machine": about,
        "backend": options.backend,
        "capacity": found.capacity,
        "run": as_document(found.outcome, found.plan),
        "events": [(at - began, kind) for at, kind in found.events],
        "memory_mib": [(each.at - began, each.mib, each.processes) for each in found.memory],
        "growth": found.growth,
        "faults": found.faults(),
    }
    figures.write_json(options.output / f"{stem}.json", content)
    width = max(found.plan.seconds / 120, 0.5)
    answered = [(e.due - began, e.seconds * 1e3) for e in timeline if not e.failed]
    lines = windows(answered, width)
    middles = [(number + 0.5) * width for number in range(int(found.plan.seconds / width) + 1)]
    errors = {}
    for code in sorted(found.outcome.failed) or ["none"]:
        counts = Counter(int((e.due - began) / width) for e in timeline if e.failed == code)
        errors[code] = (middles, [counts[number] / width for number in range(len(middles))])
    kinds = sorted({kind for each in found.memory for kind in each.mib})
    over_time(
        {
            "milliseconds": {"p99": lines[99], "p50": lines[50]},
            "errors a second": errors,
            "memory, MiB": {
                kind: (
                    [each.at - began for each in found.memory],
                    [each.mib.get(kind, 0.0) for each in found.memory],
                )
                for kind in kinds
            },
        },
        [(at - began, kind) for at, kind in found.events],
        f"{found.plan.rate:,.0f} requests a second, computed by {options.backend}",
        options.output / f"{stem}.png",
    )


if __name__ == "__main__":
    main()
