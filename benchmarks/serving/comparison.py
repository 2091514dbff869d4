"""The façade beside its floors and its peers: one run, one machine, the same work.

    python -m benchmarks.serving.comparison --store model_store --name anime

Each system is started, warmed up, measured and stopped before the next; a second round goes through
them the other way round, so that whatever drifts on the machine falls on all. The façade stands in
the table twice: how far these rows are apart is what a difference must exceed to be one (A/A). A
system that cannot be had or does not start says so in its row. Written to --output: comparison.json
(the machine, percentiles of every run, histograms of the closed loops), comparison.md (the tables,
to be read as they are) and two plots.
"""

import argparse
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from benchmarks import figures, machine
from benchmarks.load.latencies import Latencies
from benchmarks.load.workload import Lines, Workload
from benchmarks.plots import by_percentile, throughput_against_p99
from benchmarks.serving import floors, reload
from benchmarks.serving.goals import Verdict, noise, verdicts
from benchmarks.serving.measurement import IN_FLIGHT, LIMIT_MS, Effort, Measured, Say, measure
from benchmarks.systems.environments import default_cache
from benchmarks.systems.processes import end_on_sigterm
from benchmarks.systems.systems import SYSTEMS, System, World
from bundles import files
from bundles.bundle import Bundle

QUICK = Effort(seconds=0.7, rounds=1, steps=3)
FLOOR_S = 6.0

console = Console(highlight=False, width=170)


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
    effort = QUICK if options.quick else Effort(options.seconds, options.rounds, options.steps)
    about = machine.describe()
    end_on_sigterm()
    with console.status("floors") as status:
        status.update("raw ONNX Runtime, raw TorchScript and the engine")
        alone = _apart(bundle.folder, world, FLOOR_S if not options.quick else 1.0)
        found = compare(chosen, world, effort, lambda said: status.update(said))
        judged = verdicts(found, alone)
        if not options.only:
            status.update("switching versions")
            judged.append(_switching(bundle, options.quick))
    console.print(_table(found, alone), noise(found), _verdict_table(judged), sep="\n")
    for each in found.values():
        if said := each.failed or each.faults():
            console.print(f"{each.system.name}: {said}", soft_wrap=True)
    _write(options, found, alone, judged, {"machine": about, **_asked(options)})
    console.print(f"written to {options.output}", soft_wrap=True)


def compare(
    systems: Sequence[System], world: World, effort: Effort, say: Say
) -> dict[str, Measured]:
    """Every system's figures by its key."""
    found = {system.key: Measured(system) for system in systems}
    for number in range(effort.rounds):
        for measured in list(found.values())[:: -1 if number % 2 else 1]:
            if measured.failed:
                continue
            name = measured.system.name

            def told(said: str, name: str = name, number: int = number) -> None:
                say(f"round {number + 1} of {effort.rounds}: {name}, {said}")

            # The façade's second row is there for the noise of the closed loops.
            search = number == 0 and measured.system.key not in ("echo", "again")
            try:
                measure(measured, world, effort, search, told)
            except Exception as error:  # whatever it is, the others are measured
                said = " ".join(str(error).split())[:300]
                measured.failed = f"failed: {type(error).__name__}: {said}"
                console.print(f"{name}: {measured.failed}", soft_wrap=True)
    return found


def _switching(bundle: Bundle, quick: bool) -> Verdict:
    goal = f"a new version at half load: p99 grows by at most {reload.MOST_TIMES:g} ×"
    quiet_s, reloads = (1.5, 1) if quick else (5.0, 3)
    try:
        found = reload.measure(bundle, quiet_s, reloads, [])
    except Exception as error:  # as for every system
        return Verdict(goal, f"failed: {' '.join(str(error).split())[:300]}", None)
    faults = sum(found.outcome.failed.values())
    p99s = f"{found.before().ms(99):.1f} to {found.during().ms(99):.1f} ms"
    return Verdict(goal, f"{found.times:.2f} × ({p99s}), {faults} failed", found.held)


def _apart(folder: Path, world: World, seconds: float) -> dict[str, Latencies]:
    """The floors, in a process of their own: TorchScript sets threads for a whole process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(floors.measure, folder, world.asks, seconds).result()


COLUMNS = (
    "p50 / p99 ms, answers/s",
    *(f"{in_flight} in flight" for in_flight in IN_FLIGHT),
    f"/s at p99 ≤ {LIMIT_MS:g} ms",
    "core µs a call: server + client",
    "same answers",
)


def rows(found: Mapping[str, Measured], alone: Mapping[str, Latencies]) -> list[list[str]]:
    """The table; what a call costs in cores is that of the most in flight."""
    lines = []
    for key, name in floors.NAMES.items():
        if key in alone:
            p50, p99 = (alone[key].ms(percentile) for percentile in (50, 99))
            lines.append([name, f"{p50:.2f} / {p99:.2f}, {1e3 / p50:,.0f}"])
    for each in found.values():
        line = [each.system.name]
        for in_flight in IN_FLIGHT:
            p50, p99 = (each.ms(in_flight, percentile) for percentile in (50, 99))
            rate = each.rate(in_flight)
            line.append(f"{p50:.2f} / {p99:.2f}, {rate:,.0f}" if rate else "")
        line.append("" if each.highest_rate is None else f"{each.highest_rate:,.0f}")
        server, client = each.cpu_us(IN_FLIGHT[-1])
        line.append(f"{server:.0f} + {client:.0f}" if server + client else "")
        line.append(f"{each.same[0]} of {each.same[1]}" if each.same else "")
        if each.failed and not line[1]:
            line[1] = "failed"
        lines.append(line)
    return [line + [""] * (len(COLUMNS) - len(line)) for line in lines]


def _table(found: Mapping[str, Measured], alone: Mapping[str, Latencies]) -> Table:
    table = Table()
    for at, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if at else "left", min_width=min(len(column), 24))
    for line in rows(found, alone):
        table.add_row(*line)
    return table


def _verdict_table(judged: Sequence[Verdict]) -> Table:
    table = Table(title="Goals", title_justify="left")
    for column in ("goal", "measured", ""):
        table.add_column(column)
    for each in judged:
        table.add_row(each.goal, each.measured, each.word)
    return table


def _write(
    options: argparse.Namespace,
    found: Mapping[str, Measured],
    alone: Mapping[str, Latencies],
    judged: Sequence[Verdict],
    about: dict[str, object],
) -> None:
    folder = options.output
    content = {
        **about,
        "floors": {
            key: {"p50_ms": each.ms(50), "p99_ms": each.ms(99), "histogram": each.encode()}
            for key, each in alone.items()
        },
        "systems": {key: each.to_document() for key, each in found.items()},
        "verdicts": [vars(each) for each in judged],
    }
    figures.write_json(folder / "comparison.json", content)
    page = _markdown(found, alone, judged, _circumstances(options, about))
    files.write_text(folder / "comparison.md", page)
    # The façade's second row would lie over its first.
    shown = {
        each.system.name: each for key, each in found.items() if each.closed and key != "again"
    }
    last = IN_FLIGHT[-1]
    by_percentile(
        {name: each.latencies(last) for name, each in shown.items()},
        f"Latency with {last} in flight: {options.candidates} candidates, "
        f"history of {options.history}, {options.top} answered",
        folder / "latency.png",
    )
    points = {
        name: [
            (run.outcome.rate, run.p99_ms)
            for run in each.opened
            if not run.outcome.overwhelmed and run.p99_ms < 10 * LIMIT_MS
        ]
        for name, each in shown.items()
    }
    throughput_against_p99(
        points,  # those without steps too, so that a system has its colour in both plots
        LIMIT_MS,
        "What a rate costs: p99 from the time each request was due",
        folder / "throughput.png",
    )


def _markdown(
    found: Mapping[str, Measured],
    alone: Mapping[str, Latencies],
    judged: Sequence[Verdict],
    circumstances: str,
) -> str:
    """The tables and the plots as a page of its own."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    table = ["# The façade beside its floors and its peers", "", circumstances, ""]
    table += [line(COLUMNS), line(["---"] + ["---:"] * (len(COLUMNS) - 1))]
    table += [line(each) for each in rows(found, alone)]
    table += ["", noise(found), "", line(("goal", "measured", "")), line(["---"] * 3)]
    table += [line((each.goal, each.measured, each.word)) for each in judged]
    faults = [(each.system.name, each.failed or each.faults()) for each in found.values()]
    table += ["", *(f"{name}: {said}\n" for name, said in faults if said)]
    table += [
        "![Latency by percentile](latency.png)",
        "",
        "![p99 by rate, open loop](throughput.png)",
    ]
    return "\n".join(table).strip() + "\n"


def _circumstances(options: argparse.Namespace, about: Mapping[str, object]) -> str:
    where = cast("Mapping[str, object]", about["machine"])
    long = f"--seconds {options.seconds:g} --rounds {options.rounds} --steps {options.steps}"
    command = f"python -m benchmarks.serving.comparison {'--quick' if options.quick else long}"
    return (
        f"One run on {where['cores']} cores ({where['cpu']}) shared with the client, "
        f"{str(where['date'])[:10]}: {options.candidates} candidates, a history of "
        f"{options.history}, {options.top} answered; `{command}`. "
        "Percentiles of every run: [comparison.json](comparison.json)."
    )


def _asked(options: argparse.Namespace) -> dict[str, object]:
    names = ("candidates", "history", "top", "seed", "seconds", "rounds", "steps", "quick")
    return {"asked": {name: getattr(options, name) for name in names}}


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
    parser.add_argument("--seconds", type=float, default=default.seconds, help="of each run")
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--steps", type=int, default=default.steps, help="to the highest rate")
    parser.add_argument("--quick", action="store_true", help="a try: short runs, one round")
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
