"""Charts of a report as SVG inside the page, in the page's own colours and letters."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from training.comparison.evaluator import Row

# Stand-ins while matplotlib draws; the page says what they are, by day and by night.
INK, FAINT, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "--ink", FAINT: "--line", FIRST: "--accent", SECOND: "--other"}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
LETTER, LINE = 5.2, 11.0  # width and height of a letter of a name, points
FEWEST = 20  # predictions in a bin whose mean says something


def learning(metrics: Sequence[Mapping[str, Any]]) -> str:
    """RMSE of the rating per epoch, on training and validation rows."""
    with matplotlib.rc_context(SETTINGS):
        figure, axes = _figure()
        epochs = [line["epoch"] for line in metrics]
        for part, colour in (("train", SECOND), ("validation", FIRST)):
            if f"{part}_rmse" in metrics[0]:
                values = [line[f"{part}_rmse"] for line in metrics]
                axes.plot(epochs, values, color=colour, label=part, marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.set_ylabel("RMSE of the rating")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        return _svg(figure, "learning")


def calibration(predicted: np.ndarray, actual: np.ndarray) -> str:
    """Mean actual rating by predicted rating in bins of half a point, and how many fell in each."""
    edges = np.arange(0.75, 10.5, 0.5)
    place = np.digitize(predicted, edges) - 1
    counts = np.bincount(place, minlength=len(edges))
    sums = [np.bincount(place, each, minlength=len(edges)) for each in (predicted, actual)]
    enough = counts >= FEWEST
    means = [each[enough] / counts[enough] for each in sums]
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(5.2, 4.2), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([1, 10], [1, 10], color=FAINT, linestyle="--", label="as predicted")
        axes.plot(*means, color=FIRST, marker="o", markersize=4, label="mean of the real ratings")
        axes.set_ylabel("real rating")
        axes.legend()
        below.bar(edges + 0.25, counts, width=0.42, color=SECOND)
        below.set_ylabel("ratings")
        below.set_xlabel("predicted rating")
        below.set_xlim(1, 10)
        below.yaxis.set_major_locator(MaxNLocator(nbins=2))
        below.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        return _svg(figure, "calibration")


def coverage(rows: Sequence[Row], own: set[str]) -> str:
    """NDCG against the share of the catalogue that is shown to anybody, a point a model."""
    points = sorted(
        (row["ndcg"], row["coverage"], row.model)
        for row in rows
        if row["coverage"] is not None and row["ndcg"] is not None
    )
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(10.6, 4.6), layout="constrained")
        axes = figure.subplots()
        for colour, label in ((FIRST, "this model"), (SECOND, "baselines")):
            chosen = [point for point in points if (point[2] in own) == (colour == FIRST)]
            covered, ndcg = ([point[at] for point in chosen] for at in (1, 0))
            axes.scatter(covered, ndcg, color=colour, s=30, zorder=2, label=label)
        axes.legend(loc="upper left")
        axes.set_xlabel("coverage: share of the listed anime in anybody's ten, on a log scale")
        axes.set_ylabel("NDCG@10")
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.1)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.2%}".replace(".00%", "%"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _name(axes, points)
        return _svg(figure, "coverage")


def _name(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Write each name right of its point, or above where another name is in its way."""
    scale = 72 / axes.figure.dpi
    written: list[tuple[float, float, float]] = []  # left, right, bottom, in points
    for ndcg, covered, name in points:
        left, bottom = axes.transData.transform((covered, ndcg)) * scale
        right, lifted = left + LETTER * len(name) + 12, bottom
        for other_left, other_right, other in sorted(written, key=lambda each: each[2]):
            if other_left < right and left < other_right and abs(lifted - other) < LINE:
                lifted = other + LINE
        written.append((left, right, lifted))
        axes.annotate(
            name,
            (covered, ndcg),
            xytext=(8, lifted - bottom - 3),
            textcoords="offset points",
            fontsize=9,
        )


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, name: str) -> str:
    """The drawing alone; ids carry `name`, so that those of several charts differ."""
    with io.StringIO() as file, matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", drawing)
    drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", drawing, count=1)
    drawing = re.sub(r"font: ([^;]*px) [^;\"]*", r"font: \1 inherit", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable})")
    return drawing
