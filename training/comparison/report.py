"""A run in one HTML file: what it reaches, how it learnt, and what it would tell a few people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from bundles.files import write_text
from training.comparison import charts
from training.comparison.baselines import BASELINES
from training.comparison.breakdown import GROUPS, HISTORIES, POPULARITIES
from training.comparison.conclusions import WHOLE
from training.comparison.diversity import MOST_USERS
from training.comparison.evaluator import Row
from training.comparison.metrics import METRICS, Metric
from training.comparison.table import Comparison
from training.tables.tables import Source


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


@dataclass(frozen=True)
class Measures:
    """A table of the page. `rows`: by the heading of a group of models, names and cells."""

    name: str
    title: str
    metrics: Sequence[Metric]
    rows: Mapping[str, Sequence[tuple[str, Sequence[Cell]]]]


@dataclass(frozen=True)
class TakenApart:
    """One metric by groups of users and of anime. `rows`: names of models, and cells."""

    heading: str
    best: str | None
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class About:
    """What the head of a report says of a run.

    begun: None where it was not kept. settings: as a run keeps them. ratings, users, anime: rows of
    the data's tables. models: what each of the model's own rows is. errors: why the errors of
    training and of validation differ.
    """

    run: str
    begun: datetime | None
    settings: Mapping[str, Any]
    source: Source
    fingerprint: str
    ratings: int
    users: int
    anime: int
    models: Mapping[str, str]
    errors: str

    @property
    def data(self) -> str:
        """The data's name, and whether they are synthetic."""
        name = self.source.name or f"{self.ratings:,} ratings"
        return f"{name}, synthetic data" if self.source.synthetic else name

    @property
    def split(self) -> str:
        """What was held out, and how it was drawn."""
        train, validation, test = (f"{share:.0%}" for share in self.settings["split"])
        shares = f"{train} to train, {validation} to validate, {test} to test"
        return {
            "ratings": f"Each user's ratings, at random: {shares}.",
            "users": f"Users, whole, at random: {shares}. A fifth of a held-out user's ratings is "
            "asked for; the others come with the request.",
            "anime": f"Anime, whole, at random: {shares}.",
            "none": "Nothing is held out: trained on all ratings.",
        }[self.settings["split_by"]]

    def all_settings(self) -> Iterator[tuple[str, str]]:
        """Each setting and its value."""
        for name, value in self.settings.items():
            if isinstance(value, Mapping):
                yield from ((f"{name}.{inner}", f"{each}") for inner, each in value.items())
            elif isinstance(value, Sequence) and not isinstance(value, str):
                yield name, ", ".join(f"{each}" for each in value)
            else:
                yield name, f"{value}"


@dataclass(frozen=True)
class Figure:
    """A chart on the page. `alt`: what it shows; `caption`: how it is read."""

    title: str
    svg: str
    alt: str
    caption: str


def write_report(
    file: Path,
    comparison: Comparison,
    *,
    about: About,
    epochs: Sequence[Mapping[str, Any]],
    ratings: tuple[np.ndarray, np.ndarray] | None,
    people: Sequence[Person],
) -> None:
    """Write the page, whole or not at all.

    epochs: the lines of metrics.jsonl. ratings: predicted and actual, float64[n] each, of what was
    held out; None where nothing was. people: what they would be told.
    """
    environment = Environment(
        loader=PackageLoader("training.comparison", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = lambda when: f"{when.day} {when:%B %Y}"
    own = {row.model for row in comparison.lines if _group(row) != "Baselines"}
    points = charts.points(comparison.lines, own, WHOLE)
    text = environment.get_template("report.html").render(
        about=about,
        written=datetime.now(UTC),
        seconds=sum(line["seconds"] for line in epochs),
        comparison=comparison,
        tables=list(_tables(comparison.lines)),
        apart=[_taken_apart(comparison.lines, metric) for metric in METRICS if metric.apart],
        histories=list(HISTORIES),
        popularities=list(POPULARITIES),
        served=WHOLE,
        figures=list(_figures(about, epochs, ratings, comparison.diversified)),
        coverage=_figure(
            "Coverage against NDCG",
            charts.coverage(points),
            "Higher: the lists hold more of what was held out. Further right: more of the "
            "catalogue is shown to somebody. Both at once is what one wants.",
        ),
        points=points,
        percent=charts.percent,
        people=people,
    )
    write_text(file, text)


def _figures(
    about: About,
    epochs: Sequence[Mapping[str, Any]],
    ratings: tuple[np.ndarray, np.ndarray] | None,
    diversified: Sequence[Row],
) -> Iterator[Figure]:
    validated = "validation_rmse" in epochs[0]
    yield _figure(
        "Learning curves",
        charts.learning(epochs),
        about.errors if validated else "Nothing was held out to validate with.",
    )
    if ratings is not None:
        yield _figure(
            "Calibration of the rating",
            charts.calibration(*ratings),
            "On the dashed line, a predicted 7 is a real 7 on average. Below: how many predictions "
            "fell at each rating.",
        )
    if any(row["ndcg"] is not None for row in diversified):
        yield _figure(
            "Diversity of the tens",
            charts.diversity(diversified),
            "At each point the option diversity of Recommend: 0 is the list by score. Further left "
            "above: the genres of a ten differ more; further right below: more of the catalogue is "
            f"shown to somebody. Tens of up to {MOST_USERS:,} of the users.",
        )


def _figure(title: str, chart: charts.Chart, caption: str) -> Figure:
    name = title.partition(" ")[0].lower()
    return Figure(title, charts.svg(chart.figure, name), chart.alt, caption)


def _group(row: Row) -> str:
    if row.model in BASELINES:
        return "Baselines"
    return "Visitors without an account" if row.model.startswith("visitor") else "This model"


def _tables(rows: Sequence[Row]) -> Iterator[Measures]:
    for name, title, accuracy in (
        ("beside", "Beside what one would try before", True),
        ("like", "What the lists are like", False),
    ):
        metrics = [metric for metric in METRICS if metric.accuracy == accuracy]
        shown = [row for row in rows if any(row[metric.name] is not None for metric in metrics)]
        yield Measures(name, title, metrics, _groups(shown, metrics))


def _groups(
    rows: Sequence[Row], metrics: Sequence[Metric]
) -> dict[str, list[tuple[str, list[Cell]]]]:
    """Rows of a table under their headings."""
    best, widest = {}, {}
    for metric in metrics:
        values = [value for row in rows if (value := row[metric.name]) is not None]
        widest[metric.name] = max(values, default=1.0) or 1.0
        best[metric.name] = _best(values, metric)
    groups: dict[str, list[tuple[str, list[Cell]]]] = {}
    for row in rows:
        cells = [_cell(row, each, widest[each.name], best[each.name]) for each in metrics]
        groups.setdefault(_group(row), []).append((row.model, cells))
    return groups


def _taken_apart(rows: Sequence[Row], metric: Metric) -> TakenApart:
    shown = {row.model: row.apart[metric.name] for row in rows if metric.name in row.apart}
    best = {
        name: _best([of[name] for of in shown.values() if name in of], metric) for name in GROUPS
    }
    cells = [
        (model, [_text_cell(of.get(name), metric, best[name]) for name in GROUPS])
        for model, of in shown.items()
    ]
    return TakenApart(metric.heading, metric.best, cells)


def _best(values: Sequence[float], metric: Metric) -> str | None:
    """The best of some values as it is shown; None where none is."""
    if not values or metric.best is None:
        return None
    return f"{(max if metric.best == 'highest' else min)(values):,.{metric.digits}f}"


def _text_cell(value: float | None, metric: Metric, best: str | None) -> Cell:
    text = "" if value is None else f"{value:,.{metric.digits}f}"
    return Cell(text, bool(text) and text == best)


def _cell(row: Row, metric: Metric, widest: float, best: str | None) -> Cell:
    value = row[metric.name]
    if value is None:
        return Cell("")
    cell = _text_cell(value, metric, best)
    between = row.intervals.get(metric.name)
    interval = f"{between[0]:.3f}–{between[1]:.3f}" if between else ""
    share = value / widest if metric.best == "highest" else None
    return replace(cell, share=share, interval=interval)
