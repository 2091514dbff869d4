"""Charts of a report as SVG inside the page, in the page's own colours and letters."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from training.comparison.evaluator import Row
from training.comparison.labels import Labelled, write_labels

# Stand-ins while matplotlib draws; the page says what they are, by day and by night.
INK, FAINT, FIRST, SECOND, CARD = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    INK: "--ink",
    FAINT: "--line",
    FIRST: "--accent",
    SECOND: "--other",
    CARD: "--card",
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
# Inches. A page gives them 330 pixels on a phone and 460 on a desk: 11 points are then 11 and 16
# pixels.
SIZE = (4.5, 3.7)
LEGEND = {"loc": "outside upper left", "ncols": 2, "borderaxespad": 0.2, "handlelength": 1.8}
# Of a group of points: its name and look. A baseline is a ring, and what is drawn later is smaller:
# points that coincide are all seen.
MARKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "served": (
        "this model, as served",
        {"s": 42, "marker": "D", "color": FIRST, "linewidth": 0, "zorder": 4},
    ),
    "own": (
        "its parts, visitors",
        {"s": 22, "facecolor": FIRST, "edgecolor": CARD, "linewidth": 0.8, "zorder": 5},
    ),
    "baseline": (
        "baselines",
        {"s": 120, "facecolor": "none", "edgecolor": SECOND, "linewidth": 1.7, "zorder": 3},
    ),
}
FEWEST = 20  # predictions in a bin whose mean says something
DECADES = 1.5  # of a log axis: with fewer, 2 and 5 are written as well


class Chart(NamedTuple):
    """A drawing, and in words what it shows."""

    figure: Figure
    alt: str


class Point(NamedTuple):
    """A model in the chart of coverage. `group`: baseline, own, or served."""

    number: int
    model: str
    ndcg: float
    covered: float
    group: str


@matplotlib.rc_context(SETTINGS)
def learning(metrics: Sequence[Mapping[str, Any]]) -> Chart:
    """RMSE of the rating per epoch, on training and validation rows."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    epochs = [line["epoch"] for line in metrics]
    told = []
    for part, key, colour, style in (
        ("training", "train_rmse", SECOND, "s--"),
        ("validation", "validation_rmse", FIRST, "o-"),
    ):
        if key in metrics[0]:
            values = [line[key] for line in metrics]
            axes.plot(epochs, values, style, label=part, color=colour, markersize=3.5)
            least = int(np.argmin(values))
            told.append(
                f"{part} from {values[0]:.3f} to {values[-1]:.3f}, least {values[least]:.3f} in "
                f"epoch {epochs[least]}"
            )
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.set_ylabel("RMSE of the rating")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(**LEGEND)
    return Chart(
        figure, f"Line chart. RMSE of the rating over {len(epochs)} epochs: {'; '.join(told)}."
    )


@matplotlib.rc_context(SETTINGS)
def calibration(predicted: np.ndarray, actual: np.ndarray) -> Chart:
    """Mean actual rating by predicted rating in bins of half a point, and how many fell in each."""
    edges = np.arange(0.75, 10.5, 0.5)
    place = np.digitize(predicted, edges) - 1
    counts = np.bincount(place, minlength=len(edges))
    sums = [np.bincount(place, each, minlength=len(edges)) for each in (predicted, actual)]
    enough = counts >= FEWEST
    means = [each[enough] / counts[enough] for each in sums]
    figure = Figure(figsize=SIZE, layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([1, 10], [1, 10], color=INK, alpha=0.45, linestyle="--", label="as predicted")
    axes.plot(*means, color=FIRST, marker="o", markersize=4, label="mean of the real ratings")
    axes.set_ylabel("real rating")
    figure.legend(**LEGEND)
    below.bar(edges + 0.25, counts, width=0.42, color=SECOND)
    below.set_ylabel("ratings")
    below.set_xlabel("predicted rating")
    below.set_xlim(0.5, 10.5)
    below.set_xticks(range(1, 11))
    below.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    below.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    pairs = [f"{real:.1f} at {said:.1f}" for said, real in zip(*means, strict=True)]
    return Chart(
        figure,
        f"Line chart above a histogram of {len(predicted):,} predictions. Mean real rating at each "
        f"predicted one: {', '.join(pairs) or 'too few predictions for any'}.",
    )


def points(rows: Sequence[Row], own: set[str], served: str) -> list[Point]:
    """The models that make lists, numbered by their NDCG, the best first.

    own: names of the model's own rows; served: the one of them that is served.
    """
    listed = [
        (float(ndcg), float(covered), row.model)
        for row in rows
        if (covered := row["coverage"]) is not None and (ndcg := row["ndcg"]) is not None
    ]
    listed.sort(key=lambda each: -each[0])
    return [
        Point(
            number,
            model,
            ndcg,
            covered,
            "served" if model == served else "own" if model in own else "baseline",
        )
        for number, (ndcg, covered, model) in enumerate(listed, 1)
    ]


@matplotlib.rc_context(SETTINGS)
def coverage(shown: Sequence[Point]) -> Chart:
    """NDCG against the share of the catalogue that anybody is shown, a numbered point a model."""
    figure = Figure(figsize=(SIZE[0], 4.3), layout="constrained")
    axes = figure.subplots()
    for group, (label, style) in MARKERS.items():
        chosen = [point for point in shown if point.group == group]
        if chosen:
            places = [point.covered for point in chosen], [point.ndcg for point in chosen]
            axes.scatter(*places, label=label, gid=group, **style)
    axes.set_xlabel("coverage (log scale)")
    axes.set_ylabel("NDCG@10")
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.1)
    _share_axis(axes, [point.covered for point in shown])
    figure.legend(**LEGEND)
    _fix_layout(figure)
    write_labels(axes, [Labelled(at.covered, at.ndcg, str(at.number)) for at in shown])
    told = [f"{at.number} {at.model}, {at.ndcg:.3f} at {percent(at.covered)}" for at in shown]
    return Chart(figure, f"Scatter chart. NDCG@10 at coverage of each model: {'; '.join(told)}.")


@matplotlib.rc_context(SETTINGS)
def diversity(rows: Sequence[Row]) -> Chart:
    """NDCG against coverage and against likeness within a ten, a point for each share."""
    found = [
        (row.model, ndcg, 1 - apart, of_all)
        for row in rows
        if (ndcg := row["ndcg"]) is not None
        and (apart := row["diversity"]) is not None
        and (of_all := row["coverage"]) is not None
    ]
    figure = Figure(figsize=(SIZE[0], 4.3), layout="constrained")
    above, below = figure.subplots(2, 1, sharey=True)
    reached = [each for _, each, *_ in found]
    alike, covered = [like for *_, like, _ in found], [share for *_, share in found]
    for axes, label, places in (
        (above, "likeness of the genres within a ten", alike),
        (below, "coverage", covered),
    ):
        axes.plot(places, reached, "o-", color=FIRST, markersize=4)
        axes.set_xlabel(label)
        axes.set_ylabel("NDCG@10")
        axes.margins(x=0.1, y=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    below.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    _fix_layout(figure)
    for axes, places in ((above, alike), (below, covered)):
        labelled = zip(places, reached, found, strict=True)
        write_labels(axes, [Labelled(x, y, name) for x, y, (name, *_) in labelled])
    told = [
        f"{name}: {each:.3f} at likeness {like:.3f} and coverage {percent(share)}"
        for name, each, like, share in found
    ]
    return Chart(figure, f"Two line charts. NDCG@10 by diversity: {'; '.join(told)}.")


def _fix_layout(figure: Figure) -> None:
    """Labels find their room in axes that no longer move."""
    layout = figure.get_layout_engine()
    assert layout is not None  # for types alone
    layout.execute(figure)
    figure.set_layout_engine("none")


def percent(share: float) -> str:
    """A share in per cent, in two digits that count."""
    return f"{100 * share:.2g}%" if share < 0.995 else "100%"


def _share_axis(axes: Axes, shares: Sequence[float]) -> None:
    wide = not shares or max(shares) > min(shares) * 10**DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    axes.xaxis.set_minor_locator(NullLocator())


def svg(figure: Figure, name: str) -> str:
    """The drawing alone; ids carry `name`, so that those of several charts differ."""
    with io.StringIO() as file, matplotlib.rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", drawing)
    drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'aria-hidden="true"', drawing, count=1)
    drawing = re.sub(r"font: ([^;]*px) [^;\"]*", r"font: \1 inherit", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable})")
    return drawing
