"""Plots of latencies: one line a system, named at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np

matplotlib.use("Agg")  # files alone: no screen is needed

from matplotlib import pyplot as plt

# Okabe and Ito (2008), told apart by colour-blind readers; the yellow is too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":")
HIGHEST = 0.98  # of the axes, that a line's name may stand at
NINES = (50, 90, 99, 99.9, 99.99, 99.999)


class Curve(Protocol):
    """Latencies that can be drawn."""

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Percentiles (0 to 100) and the milliseconds at each."""


def by_percentile(curves: Mapping[str, Curve], title: str, file: Path) -> None:
    """Latency against percentile, on an axis where each nine takes the same room."""
    figure, axes = plt.subplots(figsize=(9, 5.2), layout="constrained")
    last = 0.0
    ends = []
    for (name, latencies), look in zip(curves.items(), _looks(), strict=False):
        percentiles, ms = latencies.curve()
        if not len(ms):
            continue
        nines = -np.log10(1 - percentiles / 100)
        axes.plot(nines, ms, linewidth=1.8, **look)
        last = max(last, float(nines[-1]))
        ends.append((float(nines[-1]), float(ms[-1]), name, look["color"]))
    axes.set_yscale("log")
    _milliseconds(axes)
    ticks = [p for p in NINES if -np.log10(1 - p / 100) <= last + 0.01]
    axes.set_xticks([-np.log10(1 - p / 100) for p in ticks], [f"{p:g} %" for p in ticks])
    axes.set_xlabel("share of the calls that are answered within")
    axes.set_xlim(0, last * 1.01 if last else 1)
    _finish(axes, title)
    _name_ends(axes, ends)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def by_system(
    panels: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str, file: Path
) -> None:
    """Panels side by side (name: x label), a line a system: its quartiles, the median as a dot."""
    names = list(next(iter(panels.values())))
    height = 1 + 0.3 * len(names)
    figure, columns = plt.subplots(
        1, len(panels), figsize=(9, height), layout="constrained", sharey=True, squeeze=False
    )
    for axes, (label, figures) in zip(columns[0], panels.items(), strict=True):
        for at, (low, median, high) in enumerate(figures[name] for name in names):
            if high:
                axes.plot((low, high), (at, at), linewidth=3, color=COLOURS[0], alpha=0.4)
                axes.plot(median, at, marker="o", markersize=5, color=COLOURS[0])
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        _finish(axes, title if axes is columns[0, 0] else "")
    columns[0, 0].set_yticks(range(len(names)), names)
    columns[0, 0].invert_yaxis()  # the first on top
    figure.savefig(file, dpi=150)
    plt.close(figure)


def over_time(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    events: Sequence[tuple[float, str]],
    title: str,
    file: Path,
) -> None:
    """Panels one above the other (name: y label), lines against seconds, events as marks."""
    figure, rows = plt.subplots(
        len(panels), 1, sharex=True, squeeze=False, layout="constrained",
        figsize=(9, 2 + 2.4 * len(panels)),
    )  # fmt: skip
    for axes, (label, lines) in zip(rows[:, 0], panels.items(), strict=True):
        ends = []
        for (name, (seconds, values)), look in zip(lines.items(), _looks(), strict=False):
            axes.plot(seconds, values, linewidth=1.5, **look)
            if len(seconds):
                ends.append((float(seconds[-1]), float(values[-1]), name, look["color"]))
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
        _finish(axes, title if axes is rows[0, 0] else "")
        _name_ends(axes, ends)
        for at, _ in events:
            axes.axvline(at, color="#bbbbbb", linewidth=0.8, zorder=0)
    top = rows[0, 0]
    for kind in dict.fromkeys(name for _, name in events):
        at = next(seconds for seconds, name in events if name == kind)
        top.annotate(
            kind, (at, 1), (2, -10), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=8, color="#666666", rotation=90, va="top",
        )  # fmt: skip
    rows[-1, 0].set_xlabel("seconds")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _looks() -> list[dict[str, Any]]:
    return [{"color": colour, "linestyle": style} for style in STYLES for colour in COLOURS]


def _milliseconds(axes: Any, label: str = "milliseconds") -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    # Between the powers of ten too, where they are few.
    axes.yaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if high < 30 * low and f"{value:e}"[0] in "235" else ""
    )


def _finish(axes: Any, title: str) -> None:
    if title:
        axes.set_title(title, loc="left", fontsize=11)
    axes.grid(alpha=0.25, which="major")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name right of the axes, level with its end, none over another."""
    axes.figure.canvas.draw()
    height = axes.bbox.height
    room = 13 * axes.figure.dpi / 72 / height  # of one line of text, as a share of the axes
    ends = sorted(ends, key=lambda end: end[1])
    into = axes.transData + axes.transAxes.inverted()
    places = [float(into.transform((x, y))[1]) for x, y, _, _ in ends]
    for at in range(1, len(places)):
        places[at] = max(places[at], places[at - 1] + room)
    for at in reversed(range(len(places))):  # down again, where the top is full
        places[at] = min(places[at], places[at + 1] - room if at + 1 < len(places) else HIGHEST)
    for (x, y, name, colour), level in zip(ends, places, strict=True):
        axes.annotate(
            name, (x, y), (1.02, level), textcoords="axes fraction", va="center", fontsize=9,
            color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6,
                        "relpos": (0, 0.5)},
        )  # fmt: skip
