"""The table of a comparison: every model on the same held-out ratings."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from anirank.errors import DataError, RunError
from training.comparison.baselines import Training, available
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.metrics import METRICS
from training.loop.progress import Stages
from training.splits import Split
from training.tables.preparation import read_ratings
from training.tables.tables import Ratings, Tables

# What measures models of one's own, given what was held out.
Contenders = Callable[[Evaluator, Stages], Iterator[Row]]


@dataclass(frozen=True)
class Comparison:
    """The table of a run.

    `split_by`: what was held out; `listed`: how many anime the lists were made of; `remarks`: what
    the figures say, in words.
    """

    run: str
    rows: str
    ratings: int
    split_by: str
    listed: int
    lines: list[Row]
    remarks: list[str]

    def to_json(self) -> str:
        """As JSON, indented."""
        lines = [line.to_dict() for line in self.lines]
        return json.dumps({**vars(self), "lines": lines}, indent=2)

    @classmethod
    def load(cls, file: Path) -> "Comparison | None":
        """What `to_json` made, kept in a file; None where there is none. Raises RunError."""
        try:
            kept: dict[str, Any] = json.loads(file.read_text("utf-8"))
            return cls(**kept | {"lines": [Row.from_dict(line) for line in kept["lines"]]})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: cannot be read: {error}; evaluate the run again") from None

    def __rich__(self) -> Table:
        title = f"{self.run}: {self.rows}, {self.ratings:,} ratings, lists of {self.listed:,} anime"
        # Without lines between the columns all of them fit 80 characters, and at 60 names fold.
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0
        )
        table.add_column("model", overflow="fold")
        shown = [metric for metric in METRICS if metric.short is not None]
        for metric in shown:
            table.add_column(str(metric.short), justify="right", min_width=len("0.000"))
        notes = (
            "NDCG at 10 of all held out, and of those rated 8 or more; hit: one of ten at least; "
            "cover: share of the listed anime in anybody's ten. More in the JSON.",
            *self.remarks,
        )
        table.caption, table.caption_justify = "\n".join(notes), "left"
        for line in self.lines:
            values = (line[metric.name] for metric in shown)
            table.add_row(line.model, *("" if v is None else f"{v:.3f}" for v in values))
        return table


@dataclass(frozen=True)
class HeldOut:
    """What models are tried on. `listed`: bool[A], the anime that lists are made of."""

    ratings: Ratings
    described: str
    listed: np.ndarray

    @classmethod
    def test_rows(cls, tables: Tables, parts: Split) -> "HeldOut":
        """The test rows of a split."""
        listed = parts.listed("test", len(tables.anime))
        return cls(tables.ratings.at(parts.test), "test rows", listed)

    @classmethod
    def of_file(cls, file: Path, tables: Tables, parts: Split) -> "HeldOut":
        """A file's ratings without those a model was fitted on or is told of. Raises DataError."""
        held, _ = read_ratings(file, tables)
        anime = len(tables.anime)
        known = tables.ratings.at(parts.known)
        pairs = known.user_row.astype(np.int64) * anime + known.anime_row
        is_new = ~np.isin(held.user_row.astype(np.int64) * anime + held.anime_row, pairs)
        if not is_new.any():
            raise DataError(f"{file.name}: every one of its {len(held):,} ratings was trained on")
        left_out = len(held) - int(is_new.sum())
        described = f"{file.name} ({left_out:,} known ones left out)" if left_out else file.name
        return cls(held.at(np.flatnonzero(is_new)), described, np.ones(anime, dtype=np.bool_))


def compared(
    training: Training, held: HeldOut, contenders: Contenders, stages: Stages
) -> list[Row]:
    """A row for each baseline, fitted on the training rows, and for each contender.

    `stages` is told each model's name before its turn.
    """
    evaluator = Evaluator(
        training.tables, training.parts, held.ratings, training.expectation, held.listed
    )
    return [*_baselines(training, evaluator, stages), *contenders(evaluator, stages)]


def _baselines(training: Training, evaluator: Evaluator, stages: Stages) -> Iterator[Row]:
    for name, fitted in available().items():
        stages.begin(name, evaluator.steps)
        baseline, row = fitted(training), Row(name)
        predicted = baseline.ratings(evaluator.history, *evaluator.pairs)
        if predicted is not None:
            row = evaluator.ratings(row, predicted)
        lists = Lists(evaluator)
        for users in evaluator.batches():
            scores = baseline.scores(evaluator.history, users)
            if scores is None:
                break
            lists.add(users, scores)
            stages.step()
        yield lists.measured(row)
