"""What training shows: a bar with samples a second, then a line an epoch."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

Announce = Callable[[str], None]  # is told what is done next


def silently(_: str) -> None:
    """An `Announce` for nobody."""


class Progress:
    """The epochs of a training on a console."""

    def __init__(self, console: Console, epochs: int) -> None:
        self._epochs = epochs
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:,.0f} samples/s  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", epoch="", speed=0.0, loss=0.0)
        self._console = console

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start_epoch(self, epoch: int, samples: int, done: int) -> None:
        """Begin a bar of `samples`, of which `done` were trained on before."""
        self._began, self._samples, self._loss = time.perf_counter(), 0, 0.0
        self._bar.reset(self._task, total=samples, completed=done)
        self._bar.update(self._task, epoch=f"{epoch}/{self._epochs}", speed=0.0, loss=0.0)

    def advance(self, samples: int, loss: float) -> None:
        """Count one batch."""
        self._samples += samples
        # A smoothed loss is readable; drawing is left to the bar's own clock.
        self._loss = loss if self._loss == 0 else 0.98 * self._loss + 0.02 * loss
        speed = self._samples / (time.perf_counter() - self._began)
        self._bar.update(self._task, advance=samples, speed=speed, loss=self._loss)

    def finish_epoch(self) -> tuple[float, float]:
        """Seconds and samples a second since the epoch began (or was taken up again)."""
        seconds = time.perf_counter() - self._began
        return seconds, self._samples / seconds

    def report(self, line: dict[str, Any]) -> None:
        """One line for the epoch just ended."""
        part = "validation" if "validation_loss" in line else "train"
        validation = f"validation {line['validation_loss']:.4f}  " if part == "validation" else ""
        self._console.print(
            f"epoch {line['epoch']:>3}  train {line['train_loss']:.4f}  {validation}"
            f"rmse {line[f'{part}_rmse']:.4f}  {line['samples_per_s']:,.0f} samples/s",
            highlight=False,
        )
