"""Training of `personal` by two processes of one thread beside one process of two threads.

    python -m benchmarks.training.ranks --data ../shared/data/mal

The sides take turns, in rounds. Seconds of what is fitted in closed form and of an epoch, the ratio
of the two sides, and how far the errors of the last epoch lie apart.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from training.loop.progress import Progress
from training.loop.ranks import joined
from training.personal.preset import PersonalPreset
from training.tables.preparation import load_or_prepare

SIDES = {"1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}


def train(data: Path, folder: Path, epochs: int) -> None:
    """Train by all ranks; the first writes seconds and errors to figures.json in `folder`."""
    preset = PersonalPreset()
    settings = preset.defaults.resolved(epochs=epochs)
    tables, device = load_or_prepare(data), torch.device("cpu")
    with joined() as ranks, Progress(Console(quiet=True), epochs) as progress:
        run = ranks.from_first(lambda: preset.begin(folder / "run", settings, tables))
        began = time.perf_counter()
        trainer = preset.trainer(run, tables, device, ranks=ranks)
        closed_s = time.perf_counter() - began
        trainer.fit(progress)
    if ranks.first:
        lines = run.metrics()
        # The first is slower, as memory is touched for the first time.
        epoch_s = statistics.median(line["seconds"] for line in lines[1:])
        errors = {part: lines[-1][f"{part}_rmse"] for part in ("train", "validation")}
        figures = {"closed_s": closed_s, "epoch_s": epoch_s, **errors}
        (folder / "figures.json").write_text(json.dumps(figures), "utf-8")


def measured(data: Path, epochs: int, processes: int, threads: int) -> dict[str, Any]:
    """The figures of one side, by programs of its own."""
    with tempfile.TemporaryDirectory() as folder:
        own = ["-m", "benchmarks.training.ranks", "--data", str(data), "--epochs", str(epochs)]
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command = own if processes == 1 else [*torchrun, str(processes), *own]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, *command, "--rank", folder], env=environment, check=True)
        figures: dict[str, Any] = json.loads((Path(folder) / "figures.json").read_text("utf-8"))
        return figures


def main() -> None:
    """Measure both sides and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2, help="figures are medians over as many")
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)  # a rank of a side: its folder
    options = parser.parse_args()
    if options.rank:
        train(options.data, options.rank, options.epochs)
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for _ in range(options.rounds):
        for name, side in SIDES.items():
            found[name].append(measured(options.data, options.epochs, *side))
    show(found)


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print a line a side, and what divides them."""
    table = Table("", title_justify="left")
    columns = {"closed_s": 1, "epoch_s": 2, "train": 7, "validation": 7}
    for title in ("closed form, s", "an epoch, s", "training RMSE", "validation RMSE"):
        table.add_column(title, justify="right")
    medians = {
        name: {column: statistics.median(each[column] for each in rounds) for column in columns}
        for name, rounds in found.items()
    }
    for name, of in medians.items():
        table.add_row(name, *(f"{of[column]:.{places}f}" for column, places in columns.items()))
    one, two = medians.values()
    ratios = [f"{two[column] / one[column]:.2f} x" for column in ("closed_s", "epoch_s")]
    apart = [f"{two[column] - one[column]:+.0e}" for column in ("train", "validation")]
    table.add_row("second beside first", *ratios, *apart)
    Console(highlight=False, width=100).print(table)


if __name__ == "__main__":
    main()
