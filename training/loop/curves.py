"""Learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def plot_learning(metrics: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Loss and RMSE per epoch, from the lines of metrics.jsonl, to a PNG file."""
    epochs = [line["epoch"] for line in metrics]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "rmse"), strict=True):
        for part, colour in (("train", "#7a869a"), ("validation", "#2456a6")):
            if f"{part}_{measure}" in metrics[0]:
                values = [line[f"{part}_{measure}"] for line in metrics]
                axes.plot(epochs, values, color=colour, label=part, marker="o", markersize=3)
        if "validation_loss" in metrics[0]:
            best = min(metrics, key=lambda line: line["validation_loss"])
            axes.axvline(best["epoch"], color="#c8cdd5", linewidth=1, zorder=0)
        axes.set_title({"loss": "Mean squared error", "rmse": "RMSE"}[measure], loc="left")
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=120)
