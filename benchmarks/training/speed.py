"""Samples a second of our training loop beside the plain one, and what a larger batch costs.

    python -m benchmarks.training.speed --data ../shared/data/mal

Speed is measured on synthetic ratings of 270,033 users, the size of the real user table: the
plain loop (a Dataset read row by row, a DataLoader, an embedding per column, dense Adam, batch
256), ours at batch 256 with the preset's settings, and ours at the larger batch. Accuracy is
measured on `--data`: the preset as it is beside the larger batch, each to its last epoch, once
per seed, on the same test rows.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.loop.progress import Progress
from training.seed.encoders import SIDES, Encoders, labels
from training.seed.evaluation import evaluate
from training.seed.run import SeedRun
from training.seed.sample import sample
from training.seed.settings import SEED, SeedSettings
from training.seed.trainer import SeedTrainer
from training.synthesis.dataset import synthesise
from training.tables.preparation import load_or_prepare
from training.tables.tables import Tables

console = Console(highlight=False, width=100)


class Rows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One rating at a time, from columns that were merged before."""

    def __init__(self, tables: Tables, encoders: Encoders, rows: np.ndarray) -> None:
        sides = [encoders.side(tables, side) for side in SIDES]
        at = (tables.ratings.user_row[rows], tables.ratings.anime_row[rows])
        scaled = [encoders.standardise(s.deep, n) for s, n in zip(sides, SIDES, strict=True)]
        self._codes = np.hstack([s.codes[rows] for s, rows in zip(sides, at, strict=True)])
        deep = np.hstack([s[rows] for s, rows in zip(scaled, at, strict=True)])
        self._deep = deep.astype(np.float32)
        self._label = labels(tables, encoders.settings, tables.ratings)[rows]

    def __len__(self) -> int:
        return len(self._label)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        return (
            torch.tensor(self._codes[row]),
            torch.tensor(self._deep[row]),
            torch.tensor(self._label[row]),
        )


class Plain(nn.Module):
    """The seed's network as one writes it down first."""

    def __init__(self, encoders: Encoders) -> None:
        super().__init__()
        settings = encoders.settings
        sizes = encoders.vocabulary_sizes()
        self.embeddings = nn.ModuleList(nn.Embedding(n, settings.embedding_dim) for n in sizes)
        widths = (len(settings.deep), *settings.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.deep = nn.Sequential(*layers)
        self.head = nn.Linear(len(sizes) * settings.embedding_dim + widths[-1], 1)

    def forward(self, codes: Tensor, deep: Tensor) -> Tensor:
        """Predicted label, float32[B]."""
        wide = [table(codes[:, at]) for at, table in enumerate(self.embeddings)]
        predicted: Tensor = self.head(torch.cat([*wide, self.deep(deep)], dim=1)).squeeze(1)
        return predicted


def plain_speed(tables: Tables, settings: SeedSettings, seconds: float) -> float:
    """Samples a second of the plain loop."""
    rows = sample(tables, settings).train
    encoders = Encoders.fit(tables, settings, rows)
    loader = DataLoader(Rows(tables, encoders, rows), batch_size=256, shuffle=True)
    model = Plain(encoders)
    adam = torch.optim.Adam(model.parameters(), lr=settings.optimisation.learning_rate)
    done, began = 0, time.perf_counter()
    for codes, deep, label in loader:
        loss = nn.functional.mse_loss(model(codes, deep), label)
        adam.zero_grad()
        loss.backward()
        adam.step()
        done += len(label)
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


class Timed(Progress):
    """Ends the training after some seconds, and says how fast it was."""

    def __init__(self, trainer: SeedTrainer, seconds: float) -> None:
        super().__init__(Console(quiet=True), 1)
        self._trainer, self._seconds, self.speed = trainer, seconds, 0.0

    def advance(self, samples: int, loss: float) -> None:
        """Count one batch; past the time, let the epoch's remaining rows go."""
        super().advance(samples, loss)
        elapsed = time.perf_counter() - self._began
        self.speed = self._samples / elapsed
        if elapsed > self._seconds:
            raise TimeoutError


def our_speed(tables: Tables, settings: SeedSettings, seconds: float) -> float:
    """Samples a second of our loop."""
    with tempfile.TemporaryDirectory() as folder:
        run = SeedRun.create(Path(folder) / "run", settings, tables)
        trainer = SeedTrainer(run, tables, torch.device("cpu"))
        progress = Timed(trainer, seconds)
        with suppress(TimeoutError):
            trainer.fit(progress)
        return progress.speed


def accuracy(tables: Tables, settings: SeedSettings) -> float:
    """Test RMSE of a whole training."""
    with tempfile.TemporaryDirectory() as folder:
        run = SeedRun.create(Path(folder) / "run", settings, tables)
        trainer = SeedTrainer(run, tables, torch.device("cpu"))
        with Progress(Console(quiet=True), settings.optimisation.epochs) as progress:
            trainer.fit(progress)
        return evaluate(run).against[settings.label].rmse


def at_full_user_table(options: argparse.Namespace) -> Iterator[Tables]:
    """Synthetic tables with the real number of users."""
    with tempfile.TemporaryDirectory() as folder:
        synthesise(Path(folder), users=options.users, anime=24_905, ratings=options.ratings)
        yield load_or_prepare(Path(folder))


def main() -> None:
    """Measure both sides and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=731_290, help="37 %% of them rate: 270,033")
    parser.add_argument("--ratings", type=int, default=24_325_191)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="speed is the median of as many")
    parser.add_argument("--batch-size", type=int, default=LARGER_BATCH)
    parser.add_argument("--learning-rate", type=float, default=LARGER_RATE)
    parser.add_argument("--data", type=Path, help="ratings for the accuracy; left out without")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    larger = {"batch_size": options.batch_size, "learning_rate": options.learning_rate}
    presets = {"the preset, batch 256": SEED}
    presets[f"batch {options.batch_size:,}, rate {options.learning_rate}"] = SEED.resolved(**larger)

    speeds: dict[str, list[float]] = {name: [] for name in ("the plain loop, batch 256", *presets)}
    for tables in at_full_user_table(options):
        for _ in track(range(options.rounds), "speed", console=console, transient=True):
            speeds["the plain loop, batch 256"].append(plain_speed(tables, SEED, options.seconds))
            for name, settings in presets.items():
                speeds[name].append(our_speed(tables, settings, options.seconds))
    rmse: dict[str, list[float]] = {}
    if options.data is not None:
        tables = load_or_prepare(options.data)
        for name, settings in presets.items():
            seeds = [settings.model_copy(update={"seed": seed}) for seed in range(options.seeds)]
            rmse[name] = [accuracy(tables, each) for each in seeds]
    show(speeds, rmse)


def show(speeds: dict[str, list[float]], rmse: dict[str, list[float]]) -> None:
    """Print one line a loop; speeds are medians over the rounds."""
    table = Table(title=f"Training on {torch.get_num_threads()} cores", title_justify="left")
    table.add_column("loop")
    for column in ("samples/s", "ratio", "test RMSE by seed", "mean"):
        table.add_column(column, justify="right")
    plain = statistics.median(next(iter(speeds.values())))
    for name, rounds in speeds.items():
        speed = statistics.median(rounds)
        errors = rmse.get(name, [])
        mean = f"{statistics.mean(errors):.4f}" if errors else ""
        by_seed = " ".join(f"{error:.4f}" for error in errors)
        table.add_row(name, f"{speed:,.0f}", f"{speed / plain:.1f}", by_seed, mean)
    console.print(table)


LARGER_BATCH = 4_096
LARGER_RATE = 0.01

if __name__ == "__main__":
    main()
