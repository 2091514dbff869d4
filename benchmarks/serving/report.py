"""A comparison as tables, plots and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.load.latencies import Latencies
from benchmarks.plots import by_percentile, by_system
from benchmarks.serving import floors
from benchmarks.serving.goals import MOST_APART, Noise, Verdict
from benchmarks.serving.measurement import IN_FLIGHT, LIMIT_MS, Figure, Measured
from benchmarks.serving.rounds import Comparison
from bundles import files

MOST = IN_FLIGHT[-1]


@dataclass(frozen=True)
class Table:
    """Cells under columns; the first of a row names it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        """Its lines, the title as a heading."""
        return [
            f"## {self.title}",
            "",
            _line(self.columns),
            _line(["---"] + ["---:"] * (len(self.columns) - 1)),
            *map(_line, self.rows),
            "",
        ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(found: Comparison, judged: Sequence[Verdict]) -> list[Table]:
    """All figures, each as its median over the rounds with the quartiles, and the verdicts."""
    systems = found.systems.values()
    in_flight = [f"{count} in flight" for count in IN_FLIGHT]
    alone = []
    for key, name in floors.NAMES.items():
        p50, p99 = (_of_floor(found.floors.get(key, {}), each) for each in (50, 99))
        alone.append([name, _cell(p50, ",.3f"), _cell(p99, ",.3f")])
    return [
        Table("The computation alone, one core: milliseconds", ("", "p50", "p99"), alone),
        Table(
            "Latency: milliseconds, p50 / p99",
            ("", *in_flight),
            [
                [each.system.name, *(_latency(each, count) for count in IN_FLIGHT)]
                for each in systems
            ],
        ),
        Table(
            "Throughput: answers a second",
            ("", *in_flight, f"highest rate with p99 ≤ {LIMIT_MS:g} ms"),
            [
                [
                    each.system.name,
                    *(_cell(each.rate(count), ",.0f") for count in IN_FLIGHT),
                    _highest(each),
                ]
                for each in systems
            ],
        ),
        Table(
            "Cost",
            (
                "",
                f"core µs a call with {MOST} in flight, server",
                "client",
                "own memory, MB: largest process / all",
                "of a core when nobody calls",
                "same answers as the engine",
            ),
            [[each.system.name, *_cost(each)] for each in systems],
        ),
        Table(
            "Goals",
            ("goal", "measured", "verdict"),
            [(each.goal, each.measured, each.word) for each in judged],
        ),
    ]


def _cell(figure: Figure, form: str) -> str:
    return figure.text(form) if figure else ""


def _latency(each: Measured, in_flight: int) -> str:
    p50, p99 = (each.ms(in_flight, percentile) for percentile in (50, 99))
    if not p50:
        return "failed" if each.failed else ""
    return f"{p50.text()} / {p99.text()}"


def _highest(each: Measured) -> str:
    if each.highest_rate or not each.search or not each.search.probes:
        return _cell(each.highest_rate, ",.0f")
    return f"below {min(probe.rate for probe in each.search.probes):,.0f}"


def _cost(each: Measured) -> list[str]:
    return [
        _cell(each.server_us(MOST), ",.0f"),
        _cell(each.client_us(MOST), ",.0f"),
        " / ".join(f"{mb:,.0f}" for mb in each.own_mb) if each.own_mb else "",
        f"{each.idle_share:.1%}" if each.closed else "",
        f"{each.same[0]} of {each.same[1]}" if each.same else "",
    ]


def _of_floor(by_round: Mapping[int, Latencies], percentile: float) -> Figure:
    return Figure({number: each.ms(percentile) for number, each in by_round.items()})


def remarks(found: Comparison, noise: Noise) -> list[str]:
    """What a reader of the tables must know."""
    busy = max(
        (each.client_share(n).median for each in found.systems.values() for n in IN_FLIGHT),
        default=0.0,
    )
    said = [
        "Cells are medians over the rounds, with the quartiles in brackets; ratios and differences "
        "are taken within a round. The highest rate is the one that half of the probes held, by an "
        f"up-and-down search. The client took at most {busy:.0%} of a core.",
        str(noise),
    ]
    for each in found.systems.values():
        if fault := each.failed or each.faults():
            said.append(f"{each.system.name}: {fault}")
    return said


def write(
    folder: Path,
    found: Comparison,
    judged: Sequence[Verdict],
    noise: Noise,
    about: Mapping[str, object],
    circumstances: str,
) -> None:
    """comparison.md, comparison.json, latency.png and throughput.png."""
    content = {
        **about,
        "a_a": {"apart": noise.apart, "quiet_below": MOST_APART, "cannot_tell_below": noise.loud},
        "verdicts": [vars(each) | {"verdict": each.word} for each in judged],
        "floors": {key: _floor(by_round) for key, by_round in found.floors.items()},
        "systems": {key: _document(each) for key, each in found.systems.items()},
    }
    figures.write_json(folder / "comparison.json", content)
    page = ["# The façade beside its floors and its peers", "", circumstances, ""]
    page += [line for said in remarks(found, noise) for line in (said, "")]
    page += [line for table in tables(found, judged) for line in table.markdown()]
    page += ["![Latency by percentile](latency.png)", "", "![Throughput by system](throughput.png)"]
    files.write_text(folder / "comparison.md", "\n".join(page) + "\n")
    _plot(folder, found)


def _plot(folder: Path, found: Comparison) -> None:
    # The façade's second row would lie over its first.
    shown = {
        each.system.name: each
        for key, each in found.systems.items()
        if each.closed and key != "again"
    }
    by_percentile(
        {name: each.latencies(MOST) for name, each in shown.items()},
        f"Latency with {MOST} in flight",
        folder / "latency.png",
    )
    by_system(
        {
            f"answers/s with {MOST} in flight": {
                name: each.rate(MOST).quartiles for name, each in shown.items()
            },
            f"highest rate with p99 ≤ {LIMIT_MS:g} ms": {
                name: each.highest_rate.quartiles for name, each in shown.items()
            },
        },
        "Calls a second: median and quartiles",
        folder / "throughput.png",
    )


def _floor(by_round: Mapping[int, Latencies]) -> dict[str, Any]:
    p50, p99 = (_of_floor(by_round, percentile) for percentile in (50, 99))
    whole = Latencies()
    for each in by_round.values():
        whole.add(each)
    return {"p50_ms": p50.to_document(), "p99_ms": p99.to_document(), "histogram": whole.encode()}


_FIGURES: dict[str, Callable[[Measured, int], Figure]] = {
    "p50_ms": lambda each, count: each.ms(count, 50),
    "p99_ms": lambda each, count: each.ms(count, 99),
    "answers_a_second": lambda each, count: each.rate(count),
    "server_cpu_us": lambda each, count: each.server_us(count),
    "client_cpu_us": lambda each, count: each.client_us(count),
    "client_core_share": lambda each, count: each.client_share(count),
}


def _document(each: Measured) -> dict[str, Any]:
    closed = {
        str(count): {name: of(each, count).to_document() for name, of in _FIGURES.items()}
        | {"histogram": each.latencies(count).encode()}
        for count in each.closed
    }
    return {
        "name": each.system.name,
        "workers": each.system.workers,
        "failed": each.failed,
        "faults": each.faults(),
        "same_answers": each.same,
        "idle_core_share": each.idle_share,
        "own_mb": each.own_mb,
        "closed": closed,
        "highest_rate": each.highest_rate.to_document() if each.search else None,
        "probes": [probe._asdict() for probe in each.search.probes] if each.search else [],
    }
