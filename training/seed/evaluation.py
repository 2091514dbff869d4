"""How well a run predicts: on its own test rows, or on ratings from another file."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from bundles.files import write_text
from training.seed.batches import Batches
from training.seed.encoders import labels
from training.seed.run import SeedRun
from training.seed.sample import sample
from training.seed.settings import Label
from training.seed.trainer import EVALUATION_BATCH
from training.tables.preparation import read_ratings


@dataclass(frozen=True)
class Errors:
    """Errors of a prediction against one truth over n ratings.

    `mean_rmse` is the RMSE of the constant that suits these rows best: their mean.
    """

    ratings: int
    rmse: float
    mae: float
    mean_rmse: float


@dataclass(frozen=True)
class Evaluation:
    """A run's errors against its own label, and against the user's own rating."""

    run: str
    label: Label
    rows: str
    best_epoch: int
    validation_loss: float
    against: dict[Label, Errors]

    def to_json(self) -> str:
        """As JSON, indented."""
        return json.dumps(asdict(self), indent=2)

    def __rich__(self) -> Table:
        table = Table(title=f"{self.run}: {self.rows}", title_justify="left")
        for column in ("predicted against", "ratings", "RMSE", "MAE", "RMSE of their mean"):
            table.add_column(column, justify="left" if column == "predicted against" else "right")
        for truth, errors in self.against.items():
            name = f"{truth} (the label)" if truth == self.label else truth
            numbers = (f"{n:.4f}" for n in (errors.rmse, errors.mae, errors.mean_rmse))
            table.add_row(name, f"{errors.ratings:,}", *numbers)
        table.caption = f"validation loss {self.validation_loss:.4f} at epoch {self.best_epoch}"
        return table


def evaluate(run: SeedRun, ratings_file: Path | None = None) -> Evaluation:
    """Evaluate on the run's test rows, or on the ratings of `ratings_file`.

    The run's own test rows are also kept in evaluation.json. Raises RunError and DataError.
    """
    tables, encoders = run.tables(), run.encoders()
    model = run.model(encoders)
    if ratings_file is None:
        ratings, rows, described = tables.ratings, sample(tables, run.settings).test, "test rows"
    else:
        ratings, _ = read_ratings(ratings_file, tables)
        rows, described = np.arange(len(ratings)), ratings_file.name
    batches = Batches(tables, encoders, ratings, torch.device("cpu"))
    with torch.inference_mode():
        predicted = torch.cat(
            [
                model(b.codes, b.deep)
                for b in batches.gather(torch.from_numpy(rows), EVALUATION_BATCH)
            ]
        ).numpy()
    truths: tuple[Label, Label] = ("Score", "rating")
    against = {
        truth: errors(
            predicted,
            labels(tables, run.settings.model_copy(update={"label": truth}), ratings)[rows],
        )
        for truth in truths
    }
    metrics = run.metrics()
    best = min(metrics, key=lambda line: float(line["validation_loss"]), default={})
    evaluation = Evaluation(
        run=run.folder.name,
        label=run.settings.label,
        rows=described,
        best_epoch=best.get("epoch", 0),
        validation_loss=best.get("validation_loss", math.nan),
        against=against,
    )
    if ratings_file is None:
        write_text(run.evaluation_file, evaluation.to_json())
    return evaluation


def errors(predicted: np.ndarray, truth: np.ndarray) -> Errors:
    """Errors of predictions, float[n], against the truth, float[n]."""
    difference = predicted.astype(np.float64) - truth
    return Errors(
        ratings=len(truth),
        rmse=float(np.sqrt(np.mean(difference**2))),
        mae=float(np.mean(np.abs(difference))),
        mean_rmse=float(np.std(truth, dtype=np.float64)),
    )
