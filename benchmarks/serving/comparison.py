"""The façade beside its floors and its peers: one run, one machine, the same work.

    python -m benchmarks.serving.comparison --store model_store --name anime

All systems run side by side, and each is called in its turn alone: see `rounds`. The façade stands
in the tables twice: how far these rows are apart is what a difference must exceed to be one (A/A).
A system that cannot be had or does not start says so in its row. Written to --output:
comparison.json (the machine, every figure and its spread, probes, histograms), comparison.md (the
tables and the goals) and two plots.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import figures, machine
from benchmarks.load.workload import Lines, Workload
from benchmarks.serving import reload, report
from benchmarks.serving.goals import Verdict, noise, verdicts
from benchmarks.serving.rounds import Effort, compare
from benchmarks.systems.environments import default_cache
from benchmarks.systems.processes import end_on_sigterm
from benchmarks.systems.systems import SYSTEMS, World
from bundles.bundle import Bundle

QUICK = Effort(seconds=0.3, rounds=1, probes=1, warm_up_s=0.1, floor_s=0.5, idle_s=0.5)

console = Console(highlight=False, width=200)


def main() -> None:
    """Measure, and write what was found."""
    options = _options()
    keys = options.only.split(",") if options.only else [system.key for system in SYSTEMS]
    chosen = [system for system in SYSTEMS if system.key in keys]
    bundle = Bundle.latest(options.store, options.name, options.version)
    workload = Workload(
        Lines.read(options.candidates), Lines.read(options.history), options.top, seed=options.seed
    )
    asks = workload.asks(bundle.histories.user_id, bundle.catalogue.anime_id)
    world = World(bundle, asks, options.cache)
    effort = QUICK if options.quick else Effort(options.seconds, options.rounds, options.probes)
    about = machine.describe()
    end_on_sigterm()
    with console.status("starting") as status:
        found = compare(chosen, world, effort, status.update)
        judged = verdicts(found)
        if not options.only:
            status.update("switching versions")
            judged.append(_switching(bundle, options.quick))
    apart = noise(found.systems)
    for table in report.tables(found, judged):
        console.print(_for_terminal(table))
    for said in report.remarks(found, apart):
        console.print(said, soft_wrap=True)
    asked = {"asked": {name: getattr(options, name) for name in _ASKED}}
    report.write(
        options.output,
        found,
        judged,
        apart,
        {"machine": about, **asked},
        _circumstances(options, about),
    )
    console.print(f"written to {options.output}", soft_wrap=True)


def _switching(bundle: Bundle, quick: bool) -> Verdict:
    goal = f"embedded, a new version at half load: p99 ≤ {reload.MOST_TIMES:g} × that before"
    quiet_s, reloads = (1.5, 1) if quick else (5.0, 3)
    try:
        found = reload.measure(bundle, quiet_s, reloads, [])
    except Exception as error:  # as for every system
        return Verdict(goal, f"failed: {' '.join(str(error).split())[:300]}", None)
    faults = sum(found.outcome.failed.values())
    p99s = f"{found.before().ms(99):.1f} to {found.during().ms(99):.1f} ms"
    each = ", ".join(f"{times:.2f}" for times in found.times_of_each())
    said = f"{found.times:.2f} × ({p99s}; by switch {each}), {faults} failed"
    return Verdict(goal, said, found.held)


def _for_terminal(table: report.Table) -> Table:
    shown = Table(title=table.title, title_justify="left")
    for at, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if at and table.title != "Goals" else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _circumstances(options: argparse.Namespace, about: dict[str, object]) -> str:
    long = f"--seconds {options.seconds:g} --rounds {options.rounds} --probes {options.probes}"
    command = f"python -m benchmarks.serving.comparison {'--quick' if options.quick else long}"
    return (
        f"One run on {about['cores']} cores ({about['cpu']}) shared with the client, "
        f"{str(about['date'])[:10]}: {options.candidates} candidates, a history of "
        f"{options.history}, {options.top} answered; `{command}`. "
        "All figures: [comparison.json](comparison.json)."
    )


_ASKED = ("candidates", "history", "top", "seed", "seconds", "rounds", "probes", "quick")


def _options() -> argparse.Namespace:
    default = Effort()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    parser.add_argument("--version", help="default: the newest")
    parser.add_argument("--candidates", default="200", help="a count, or a file of them")
    parser.add_argument("--history", default="100", help="a count, or a file of them")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=default.seconds, help="of each load")
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument(
        "--probes", type=int, default=default.probes, help="of the highest rate, in each round"
    )
    parser.add_argument("--quick", action="store_true", help="a try: short loads, one round")
    parser.add_argument(
        "--only", help=f"of {', '.join(system.key for system in SYSTEMS)}, with commas"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for the peers")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"default: {figures.FOLDER}; with --quick {figures.QUICK_FOLDER}",
    )
    options = parser.parse_args()
    if options.output is None:
        options.output = figures.QUICK_FOLDER if options.quick else figures.FOLDER
    return options


if __name__ == "__main__":
    main()
