"""Ten minutes of trouble: every answer right, every refusal one that is promised, nothing lost.

    python -m benchmarks.chaos.run --store model_store --name anime --minutes 10 --seed 0

A façade with two workers watches a store. Callers who know the right answers of every version ask
it all the time, while versions appear that can and cannot serve, files are cut short, workers are
killed and halted, and its port is attacked; what comes when is drawn from the seed. Exit code 1
where an answer was wrong or lost, or where the façade did not come back.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks import figures, machine
from benchmarks.chaos.answers import Answers
from benchmarks.chaos.callers import Callers, Heard
from benchmarks.chaos.troubles import Troubles, Versions, beta_of
from benchmarks.plots import over_time
from benchmarks.serving.copies import Copies
from benchmarks.serving.reload import watching
from benchmarks.systems.processes import Program, end_on_sigterm, program, relatives
from benchmarks.systems.systems import facade_address
from bundles.bundle import Bundle

CALLERS = 4
BACK_S = 30.0  # after the last trouble, until the newest version answers all

console = Console(highlight=False, width=120)


@dataclass(frozen=True)
class Sample:
    """The façade at a time on the monotonic clock: all its processes together.

    own_mib: memory that no other process shares; wrong, refused, answered: since the start.
    """

    at: float
    own_mib: float
    files: int
    threads: int
    answered: int
    refused: int


@dataclass
class Chaos:
    """What came of it."""

    heard: Heard
    seconds: float
    samples: list[Sample] = field(default_factory=list)
    troubles: list[tuple[float, str]] = field(default_factory=list)
    fault: str = ""  # why the façade did not come back

    def faults(self) -> list[str]:
        """What did not hold; empty where all did."""
        kinds = {"wrong": self.heard.wrong, "lost": self.heard.lost}
        found = [f"{len(these)} {kind}: {these[0]}" for kind, these in kinds.items() if these]
        return found + [self.fault] * bool(self.fault)


def chaos(bundle: Bundle, options: argparse.Namespace) -> Chaos:
    """Serve, ask and trouble."""
    answers = Answers(bundle)
    with tempfile.TemporaryDirectory(prefix="anirank-") as folder:
        copies = Copies(bundle, Path(folder), beta_of)
        with program(watching(copies, "--workers", str(options.workers))) as facade:
            address = facade_address(facade)
            troubles = Troubles(facade.pid, address, Versions(copies), options.seed)
            began = time.monotonic()
            with Callers(address, answers, CALLERS, options.seed) as callers:
                found = Chaos(callers.heard, 0.0)
                _trouble(found, facade, troubles, options)
                found.fault = _back(found.heard, facade, troubles.versions)
            found.seconds = time.monotonic() - began
    return found


def _trouble(
    found: Chaos, facade: Program, troubles: Troubles, options: argparse.Namespace
) -> None:
    began = time.monotonic()
    following = began + options.every
    while time.monotonic() < began + options.minutes * 60 and facade.running():
        time.sleep(1.0)
        found.samples.append(_sampled(facade.pid, found.heard))
        troubles.wake()
        if time.monotonic() >= following:
            following += options.every
            found.troubles.append((time.monotonic(), troubles.next()))
            console.print(f"{time.monotonic() - began:6.0f} s  {found.troubles[-1][1]}")
    troubles.end()


def _back(heard: Heard, facade: Program, versions: Versions) -> str:
    """Why the newest version does not answer all; empty where it does, in time."""
    until = time.monotonic() + BACK_S
    while heard.latest < versions.latest and time.monotonic() < until:
        time.sleep(0.2)
    if not facade.running():
        return f"the façade ended: {facade.said[-500:]}"
    if heard.latest < versions.latest:
        return f"version {heard.latest} answers {BACK_S:.0f} s after {versions.latest} was there"
    before = sum(heard.refused.values())
    time.sleep(5.0)
    refused = sum(heard.refused.values()) - before
    return f"{refused} calls refused when all was over" if refused else ""


def _sampled(pid: int, heard: Heard) -> Sample:
    mib = files = threads = 0.0
    for each in relatives([pid]):
        with suppress(psutil.Error):
            mib += each.memory_full_info().uss / 2**20
            files += each.num_fds()
            threads += each.num_threads()
    refused = sum(heard.refused.values())
    return Sample(time.monotonic(), mib, int(files), int(threads), heard.answered, refused)


def main() -> None:
    """Make trouble, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two troubles")
    parser.add_argument("--workers", type=int, default=2, help="of the façade")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=figures.FOLDER)
    options = parser.parse_args()
    end_on_sigterm()
    found = chaos(Bundle.latest(options.store, options.name), options)
    _say(found)
    _write(options, found)
    sys.exit(bool(found.faults()))


def _say(found: Chaos) -> None:
    heard, first, last = found.heard, found.samples[len(found.samples) // 4], found.samples[-1]
    peak = max(each.own_mib for each in found.samples)
    console.print(
        f"{len(found.troubles)} troubles in {found.seconds:,.0f} s; {heard.sent:,} calls: "
        f"{heard.answered:,} answered right, refused {dict(heard.refused) or 'none'}, "
        f"{len(heard.wrong)} wrong, {len(heard.lost)} lost\n"
        f"own memory {first.own_mib:,.0f} MiB after a quarter, {last.own_mib:,.0f} at the end, "
        f"{peak:,.0f} at most; open files {first.files}, {last.files}; "
        f"threads {first.threads}, {last.threads}\n"
        f"{'held' if not found.faults() else 'not held: ' + '; '.join(found.faults())}",
        soft_wrap=True,
    )


def _write(options: argparse.Namespace, found: Chaos) -> None:
    heard, began = found.heard, found.samples[0].at
    content = {
        "machine": machine.describe(),
        "seed": options.seed,
        "seconds": found.seconds,
        "answered": heard.answered,
        "refused": heard.refused,
        "wrong": heard.wrong[:20],
        "lost": heard.lost[:20],
        "troubles": Counter(name for _, name in found.troubles),
        "events": [(at - began, name) for at, name in found.troubles],
        "samples": [(s.at - began, s.own_mib, s.files, s.threads) for s in found.samples],
        "faults": found.faults(),
    }
    figures.write_json(options.output / "chaos.json", content)
    at = [sample.at - began for sample in found.samples]
    pairs = list(zip(found.samples, found.samples[1:], strict=False))
    over_time(
        {
            "calls a second": {
                "answered": (at[1:], [b.answered - a.answered for a, b in pairs]),
                "refused": (at[1:], [b.refused - a.refused for a, b in pairs]),
            },
            "own memory, MiB": {"": (at, [sample.own_mib for sample in found.samples])},
            "open files and threads": {
                "files": (at, [sample.files for sample in found.samples]),
                "threads": (at, [sample.threads for sample in found.samples]),
            },
        },
        [(when - began, "") for when, _ in found.troubles],
        f"A façade of {options.workers} workers in trouble (grey lines)",
        options.output / "chaos.png",
    )


if __name__ == "__main__":
    main()
