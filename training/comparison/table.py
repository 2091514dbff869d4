"""The table of a comparison: every model on the same held-out ratings."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anirank.errors import RunError
from training.comparison.baselines import ON_A_SAMPLE, Training, available
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.metrics import METRICS, Metric
from training.loop.progress import Stages

_ROWS = ("lines", "diversified")
# What measures models of one's own, given what was held out.
Contenders = Callable[[Evaluator, Stages], Iterator[Row]]


@dataclass(frozen=True)
class Comparison:
    """The table of a run.

    `ratings`, `users`: how many were asked for, of how many users; `split_by`: what was held out;
    `listed`: how many anime the lists were made of; `groups`: users and ratings of each group that
    figures are taken apart by; `remarks`: what the figures say, in words; `diversified`: the served
    model's tens with more and more diversity (`training.comparison.diversity`), of some users.
    """

    run: str
    rows: str
    ratings: int
    users: int
    split_by: str
    listed: int
    groups: dict[str, dict[str, int]]
    lines: list[Row]
    remarks: list[str]
    diversified: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        """As JSON, indented."""
        rows = {name: [row.to_dict() for row in getattr(self, name)] for name in _ROWS}
        return json.dumps({**vars(self), **rows}, indent=2)

    @classmethod
    def load(cls, file: Path) -> "Comparison | None":
        """What `to_json` made, kept in a file; None where there is none. Raises RunError."""
        try:
            return cls.from_dict(json.loads(file.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: cannot be read: {error}; evaluate the run again") from None

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Comparison":
        """What `to_json` wrote down. Raises KeyError, TypeError and ValueError."""
        of = {name: [Row.from_dict(row) for row in kept.get(name, [])] for name in _ROWS}
        return cls(**{**kept, **of})

    def __rich__(self) -> RenderableType:
        title = (
            f"{self.run}: {self.rows}, {self.ratings:,} ratings of {self.users:,} users, lists of "
            f"{self.listed:,} anime"
        )
        accuracy = self._table(title, [metric for metric in METRICS if metric.accuracy])
        accuracy.caption = (
            "NDCG at 10 of all held out, and of those rated 8 or more; hit: one of ten at least. "
            "More in the JSON."
        )
        beyond = self._table("What the tens are like", [m for m in METRICS if not m.accuracy])
        beyond.caption = (
            "cover: share of the listed anime in anybody's ten; novel: how rarely the ten are "
            "watched, bits; diverse: how far its genres differ; miscal: its genres beside the "
            "history's, nats, 0 is best; popular: mean training ratings; overlap: of two tens."
        )
        return Group(accuracy, "", beyond, "", *map(Text, self.remarks))

    def _table(self, title: str, metrics: Sequence[Metric]) -> Table:
        # Without lines between the columns all of them fit 80 characters, and at 60 names fold.
        table = Table(
            title=title,
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,
        )
        table.add_column("model", overflow="fold")
        shown = [metric for metric in metrics if metric.short is not None]
        for metric in shown:
            table.add_column(str(metric.short), justify="right", min_width=len("0.000"))
        for line in self.lines:
            values = [line[metric.name] for metric in shown]
            if any(value is not None for value in values):
                texts = zip(values, shown, strict=True)
                table.add_row(
                    line.model, *("" if v is None else f"{v:,.{m.digits}f}" for v, m in texts)
                )
        return table


def compared(
    training: Training, evaluator: Evaluator, contenders: Contenders, stages: Stages
) -> list[Row]:
    """A row for each baseline, fitted on the training rows, and for each contender.

    `stages` is told each model's name before its turn.
    """
    return [*_baselines(training, evaluator, stages), *contenders(evaluator, stages)]


def _baselines(training: Training, evaluator: Evaluator, stages: Stages) -> Iterator[Row]:
    for name, fitted in available().items():
        stages.begin(name, evaluator.steps)
        own = training.sample if name in ON_A_SAMPLE else training
        baseline, row = fitted(own), Row(name, raters=None if own is training else own.raters)
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
