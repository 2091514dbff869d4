"""What a preset is: a way to make a model, from its declaration to what is served of it.

A preset stands in a folder of its own and is one line of `training.presets`. Its settings are data:
a run keeps those it was resolved to.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from rich.console import Console, RenderableType

from anirank.errors import RunError
from training.folding.served import Light, Served
from training.loop.curves import plot_learning
from training.loop.progress import SILENT, Progress, Stages
from training.loop.ranks import ALONE, Ranks
from training.run import Run, read_config
from training.settings import Settings
from training.tables.growth import Growth
from training.tables.tables import Tables


class Trainer(Protocol):
    """A model on its way through the epochs of a run."""

    def fit(self, progress: Progress) -> bool:
        """Train to the last epoch; False where a signal ended it before."""

    def resume(self) -> None:
        """Take up the run where it stopped. Raises RunError where it cannot be read."""


class Figures(Protocol):
    """What an evaluation says: tables on a terminal, or JSON."""

    def __rich__(self) -> RenderableType:
        """Tables."""

    def to_json(self) -> str:
        """As JSON, indented."""


AnyRun = TypeVar("AnyRun", bound=Run[Any])


class Preset(ABC, Generic[AnyRun]):
    """How one kind of model begins, trains, is measured and is served.

    defaults: its settings where nobody says otherwise. run: the class of its runs. shared: whether
    several ranks can train one of them.
    """

    defaults: ClassVar[Settings]
    shared: ClassVar[bool] = False
    run: type[AnyRun]

    def open(self, folder: Path) -> AnyRun:
        """A run made before.

        Raises RunError where there is none of this preset, PresetError where its settings do not
        hold together.
        """
        declared, fingerprint = read_config(folder)
        if declared["name"] != self.defaults.name:
            raise RunError(
                f"{folder}: is a run of the preset {declared['name']}, not of {self.defaults.name}"
            )
        return self.run(folder, type(self.defaults).validated(declared), fingerprint)

    def begin(self, folder: Path, settings: Any, tables: Tables) -> AnyRun:
        """Begin a run. Raises RunError where the folder already holds something."""
        return self.run.create(folder, settings, tables)

    @abstractmethod
    def trainer(
        self,
        run: AnyRun,
        tables: Tables,
        device: torch.device,
        stages: Stages = SILENT,
        ranks: Ranks = ALONE,
    ) -> Trainer:
        """What trains the run. Raises RunError where it was begun on other data."""

    def train(
        self,
        run: AnyRun,
        tables: Tables,
        device: torch.device,
        console: Console,
        resume: bool = False,
        ranks: Ranks = ALONE,
    ) -> bool:
        """Train a run to its end, from its beginning or from where it stopped.

        False where a signal ended it before: it can be used as it is, and resumed. Learning curves
        are drawn in either case.
        """
        with Progress(console, run.settings.optimisation.epochs) as progress:
            progress.begin("preparing")
            trainer = self.trainer(run, tables, device, progress, ranks)
            if resume:
                trainer.resume()
            ended = trainer.fit(progress)
        if ranks.first and run.metrics():
            plot_learning(run.metrics(), run.curves_file)
        return ended

    @abstractmethod
    def evaluate(
        self, run: AnyRun, ratings: Path | None = None, stages: Stages = SILENT
    ) -> Figures:
        """Measure a run on its test rows, or on the ratings of a file.

        What is measured on the test rows is kept in evaluation.json. Raises RunError and DataError.
        """

    def conclude(self, run: AnyRun, stages: Stages = SILENT) -> Figures | str:
        """What is shown of a run whose training has ended."""
        return self.evaluate(run, stages=stages)

    def compare(self, run: AnyRun, ratings: Path | None = None, stages: Stages = SILENT) -> Figures:
        """Measure a run beside the baselines. Raises RunError where its preset has none."""
        raise RunError(f"{run.folder}: {self._of_this_preset('is compared with baselines')}")

    def refit(self, chosen: AnyRun, folder: Path, tables: Tables) -> AnyRun:
        """Begin a run on all ratings, nothing held out, of what `chosen` has chosen.

        Raises RunError where `chosen` cannot be trained so.
        """
        raise RunError(f"{chosen.folder}: {self._of_this_preset('is trained on all ratings')}")

    def update(self, run: AnyRun, folder: Path, growth: Growth) -> AnyRun:
        """Begin a run in `folder` that takes up what `run` learnt, of tables that have grown.

        Raises RunError where `run` cannot be taken up.
        """
        raise RunError(f"{run.folder}: {self._of_this_preset('is updated; train a new one')}")

    def report(self, run: AnyRun, output: Path | None = None, stages: Stages = SILENT) -> Path:
        """Write the report of a run as one HTML file. Raises RunError where it has none."""
        raise RunError(f"{run.folder}: {self._of_this_preset('has a report')}")

    @abstractmethod
    def served(
        self, run: AnyRun, tables: Tables, users: bool = True, stages: Stages = SILENT
    ) -> Served:
        """Fold a run into what an export writes down. Raises RunError and DataError.

        `users`: whether it knows those it was trained on; else everybody is a new user to it.
        """

    def light(self, run: AnyRun, tables: Tables, stages: Stages = SILENT) -> Light:
        """Fold a run into a graph for small places, which knows no user.

        Raises RunError and DataError, and RunError where the preset has none.
        """
        raise RunError(f"{run.folder}: {self._of_this_preset('has a light graph')}")

    def _of_this_preset(self, can: str) -> str:
        return f"is a run of the preset {self.defaults.name}, of which none {can}"
