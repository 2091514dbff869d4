"""A run in one HTML file: what it reaches, how it learnt, and what it would tell a few people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from bundles.files import write_text
from training.comparison import charts
from training.comparison.baselines import BASELINES
from training.comparison.evaluator import Row
from training.comparison.metrics import METRICS, Metric
from training.comparison.table import Comparison


@dataclass(frozen=True)
class Cell:
    """A measure as text; `share`: of the widest bar of its column, 0 to 1; None: no bar."""

    text: str
    best: bool = False
    share: float | None = None
    interval: str = ""


@dataclass(frozen=True)
class Recommendation:
    """One anime of a ten. `because`: what speaks for it; `later`: the rating that was held out."""

    title: str
    genres: str
    rating: float
    because: str
    later: int | None


@dataclass(frozen=True)
class Person:
    """A user, or a visitor: the best and worst of the history (title, rating), and a ten."""

    name: str
    best: list[tuple[str, int]]
    worst: list[tuple[str, int]]
    ten: list[Recommendation]


def write_report(
    file: Path,
    comparison: Comparison,
    *,
    epochs: Sequence[Mapping[str, Any]],
    ratings: tuple[np.ndarray, np.ndarray] | None,
    people: Sequence[Person],
    settings: Mapping[str, Any],
    fingerprint: str,
) -> None:
    """Write the page, whole or not at all.

    epochs: the lines of metrics.jsonl. ratings: predicted and actual, float64[n] each, of what was
    held out; None where nothing was. people: what they would be told. settings: of the run.
    """
    page = Environment(
        loader=PackageLoader("training.comparison", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")
    own = {row.model for row in comparison.lines if _group(row) != "Baselines"}
    drawings = {"Learning curves": charts.learning(epochs)}
    if ratings is not None:
        drawings["Calibration of the rating"] = charts.calibration(*ratings)
    drawings["Coverage against NDCG"] = charts.coverage(comparison.lines, own)
    text = page.render(
        comparison=comparison,
        metrics=METRICS,
        groups=_groups(comparison.lines),
        charts=drawings,
        people=people,
        settings=settings,
        fingerprint=fingerprint[:12],
    )
    write_text(file, text)


def _group(row: Row) -> str:
    if row.model in BASELINES:
        return "Baselines"
    return "Visitors without an account" if row.model.startswith("visitor") else "This model"


def _groups(rows: Sequence[Row]) -> dict[str, list[tuple[str, list[Cell]]]]:
    """Rows of the table under their headings."""
    best, widest = {}, {}
    for metric in METRICS:
        values = [value for row in rows if (value := row[metric.name]) is not None]
        widest[metric.name] = max(values, default=1.0) or 1.0
        if values and metric.best is not None:
            highest = (max if metric.best == "highest" else min)(values)
            best[metric.name] = f"{highest:.{metric.digits}f}"
    groups: dict[str, list[tuple[str, list[Cell]]]] = {}
    for row in rows:
        cells = [_cell(row, each, widest[each.name], best.get(each.name)) for each in METRICS]
        groups.setdefault(_group(row), []).append((row.model, cells))
    return groups


def _cell(row: Row, metric: Metric, widest: float, best: str | None) -> Cell:
    value = row[metric.name]
    if value is None:
        return Cell("")
    text = f"{value:,.{metric.digits}f}"
    between = row.intervals.get(metric.name)
    interval = f"{between[0]:.3f} to {between[1]:.3f}" if between else ""
    share = value / widest if metric.best == "highest" else None
    return Cell(text, text == best, share, interval)
