"""What long work shows: its stages, and the epochs of a training.

On a terminal, one live line; elsewhere plain lines.
"""

import threading
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

# Seconds, where there is no terminal. What is over, or has failed, before it is said to have
# begun is one line.
BEGUN_S = 0.5
EVERY_S = 30.0  # between lines that say that it goes on
SOON_S = 5.0  # how long work still takes is said where it is longer


class Stages:
    """The stages of long work on a console, once it is entered.

    Without a terminal, a line says that a stage has begun, unless it is over by then, one every so
    often that it goes on, and one that it has ended, with its time.

    with Stages(Console(stderr=True)) as stages:
        stages.begin("comparing", steps=20)
        stages.step()
    """

    def __init__(self, console: Console, every_s: float = EVERY_S) -> None:
        self._console, self._every_s = console, every_s
        self._live = console.is_interactive
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._stage, self._note, self._steps, self._done = "", "", 0, 0
        self._began = time.perf_counter()
        self._lines = self._told = self._shown = False
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()  # a stage may end while it is told that it goes on

    def __enter__(self) -> Self:
        self._shown = not self._console.quiet
        if self._shown and self._live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(whole=kind is None)
        if self._shown and self._live:
            self._bar.stop()
        self._shown = False

    def begin(self, stage: str, steps: int = 0) -> None:
        """End the stage before, and begin one of so many steps; 0: not known how many."""
        self._begin(stage, steps, lines=True)

    def step(self, steps: int = 1) -> None:
        """Count what is done of the stage."""
        self._done += steps
        passed = time.perf_counter() - self._began
        left = passed * (self._steps - self._done) / max(self._done, 1)
        self._note = f"{self._done:,} of {self._steps:,}{_about(left)}" if self._steps else ""
        self._update()

    def _begin(self, stage: str, steps: int, done: int = 0, lines: bool = False) -> None:
        """`lines`: whether lines say that it has begun and ended."""
        self._end()
        self._stage, self._steps, self._done, self._note = stage, steps, done, ""
        self._lines, self._told = lines, not lines
        self._began = time.perf_counter()
        if self._shown and self._live:
            self._bar.add_task(stage, total=steps or None, completed=done, note="")
        elif self._shown:
            self._wait(min(BEGUN_S, self._every_s) if lines else self._every_s)

    def _update(self) -> None:
        for task in self._bar.task_ids:
            self._bar.update(task, completed=self._done, note=self._note)

    def _end(self, whole: bool = True) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                if self._lines and whole:
                    self._say(f"{self._stage}: {_spelled(time.perf_counter() - self._began)}")
        for task in self._bar.task_ids:
            self._bar.remove_task(task)

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._go_on)
        self._timer.daemon = True
        self._timer.start()

    def _go_on(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return
            if self._told:
                done = f"{self._note}, " if self._note else ""
                passed = _spelled(time.perf_counter() - self._began)
                self._say(f"{self._stage}: {done}{passed} so far")
            else:
                self._say(f"{self._stage} ...")
                self._told = True
            self._wait(self._every_s)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


SILENT = Stages(Console(quiet=True))


class Progress(Stages):
    """The epochs of a training, a line each when it ends, and the stages around them."""

    def __init__(self, console: Console, epochs: int) -> None:
        super().__init__(console)
        self._epochs = epochs

    def start_epoch(self, epoch: int, samples: int, done: int) -> None:
        """Begin an epoch of `samples`, of which `done` were trained on before."""
        self._samples, self._loss = 0, 0.0
        self._later = (self._epochs - epoch) * samples
        self._begin(f"epoch {epoch}/{self._epochs}", samples, done)

    def advance(self, samples: int, loss: float) -> None:
        """Count one batch."""
        self._samples += samples
        self._done += samples
        # A smoothed loss is readable; drawing is left to the bar's own clock.
        self._loss = loss if self._loss == 0 else 0.98 * self._loss + 0.02 * loss
        speed = self._samples / (time.perf_counter() - self._began)
        left = (self._steps - self._done + self._later) / speed
        self._note = (
            f"{self._done:,} of {self._steps:,}  {speed:,.0f} samples/s  loss {self._loss:.4f}"
            f"{_about(left)}"
        )
        self._update()

    def finish_epoch(self) -> tuple[float, float]:
        """Seconds and samples a second since the epoch began (or was taken up again)."""
        seconds = time.perf_counter() - self._began
        return seconds, self._samples / seconds

    def report(self, line: dict[str, Any]) -> None:
        """One line for the epoch just ended."""
        part = "validation" if "validation_loss" in line else "train"
        validation = f"validation {line['validation_loss']:.4f}  " if part == "validation" else ""
        left = self._later / line["samples_per_s"]
        self._console.print(
            f"epoch {line['epoch']:>3}  train {line['train_loss']:.4f}  {validation}"
            f"rmse {line[f'{part}_rmse']:.4f}  {line['samples_per_s']:,.0f} samples/s"
            f"{_about(left)}",
            highlight=False,
            soft_wrap=True,
        )


def _about(left: float) -> str:
    """How long it still takes, in seconds, for who waits; nothing where that is no time."""
    if left < SOON_S:
        return ""
    return f", {left:.0f} s left" if left < 100 else f", {left / 60:.0f} min left"


def _spelled(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
