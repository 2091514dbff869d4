"""A `personal` run beside the models one would try before it, on the same held-out ratings."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.table import Table

from anirank.errors import DataError, RunError
from training.comparison.baselines import BASELINES, Training, available
from training.comparison.conclusions import remarks
from training.comparison.evaluator import Evaluator, Lists, Row
from training.interactions.interactions import Interactions
from training.personal.model import Mix, PersonalModel, Scores
from training.run import PersonalRun, write_text
from training.splits import Split, personal_split
from training.tables.preparation import read_ratings
from training.tables.tables import Ratings, Tables

FILE = "evaluation.json"
SHOWN = {
    "rmse": "RMSE",
    "ndcg": "NDCG",
    "ndcg_liked": "8+",
    "recall_10": "R@10",
    "recall_50": "R@50",
    "hit_10": "hit",
    "coverage": "cover",
}

Announce = Callable[[str], None]


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
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def load(cls, run: PersonalRun) -> "Comparison | None":
        """What was kept in evaluation.json, None where nothing was. Raises RunError."""
        file = run.folder / FILE
        try:
            kept: dict[str, Any] = json.loads(file.read_text("utf-8"))
            return cls(**kept | {"lines": [Row(**line) for line in kept["lines"]]})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: cannot be read: {error}; evaluate the run again") from None

    def __rich__(self) -> Table:
        title = f"{self.run}: {self.rows}, {self.ratings:,} ratings, lists of {self.listed:,} anime"
        table = Table(title=title, title_justify="left")
        table.add_column("model", no_wrap=True)
        for heading in SHOWN.values():
            table.add_column(heading, justify="right", no_wrap=True)
        notes = (
            "NDCG at 10 of all held out, and of those rated 8 or more; hit: one of ten at least; "
            "cover: share of the listed anime in anybody's ten. More in the JSON.",
            *self.remarks,
        )
        table.caption, table.caption_justify = "\n".join(notes), "left"
        for line in self.lines:
            values = (getattr(line, name) for name in SHOWN)
            table.add_row(line.model, *("" if v is None else f"{v:.3f}" for v in values))
        return table


def compare(
    run: PersonalRun, ratings_file: Path | None = None, announce: Announce = lambda model: None
) -> Comparison:
    """The run's model and the baselines, all fitted on the run's training rows.

    Tried on the run's test rows, or on the ratings of `ratings_file` that are not known already.
    What is compared on the test rows is also kept in evaluation.json. `announce` is told each
    model's name before its turn. Raises RunError and DataError.
    """
    tables = run.tables()
    parts = personal_split(tables, run.preset)
    if ratings_file is None and not len(parts.test):
        raise RunError(f"{run.folder}: holds no ratings out; try it on others with --ratings FILE")
    model = PersonalModel.load(run, tables)
    anime = len(tables.anime)
    if ratings_file is None:
        held, described = tables.ratings.at(parts.test), "test rows"
        of = parts.listed("test", anime)
    else:
        held, described = _unknown(ratings_file, tables, parts)
        of = np.ones(anime, dtype=np.bool_)
    judge = Evaluator(tables, parts, held, model.expectation, of)
    training = Training(tables, parts, model.expectation, of, run.preset.seed)
    lines = [*_baselines(training, judge, announce), *_ours(model, judge, announce)]
    missing = [name for name in BASELINES if name not in available()]
    comparison = Comparison(
        run=run.folder.name,
        rows=described,
        ratings=len(held),
        split_by=run.preset.split_by,
        listed=int(of.sum()),
        lines=lines,
        remarks=remarks(lines, run.preset, missing),
    )
    if ratings_file is None:
        write_text(run.folder / FILE, comparison.to_json())
    return comparison


def _unknown(file: Path, tables: Tables, parts: Split) -> tuple[Ratings, str]:
    """The file's ratings without those the model was fitted on or is told of."""
    held, _ = read_ratings(file, tables)
    anime = len(tables.anime)
    known = tables.ratings.at(parts.known)
    pairs = known.user_row.astype(np.int64) * anime + known.anime_row
    is_new = ~np.isin(held.user_row.astype(np.int64) * anime + held.anime_row, pairs)
    if not is_new.any():
        raise DataError(f"{file.name}: every one of its {len(held):,} ratings was trained on")
    left_out = len(held) - int(is_new.sum())
    described = f"{file.name} ({left_out:,} known ones left out)" if left_out else file.name
    return held.at(np.flatnonzero(is_new)), described


def _baselines(training: Training, judge: Evaluator, announce: Announce) -> Iterator[Row]:
    user, anime = judge.held.user_row.astype(np.int64), judge.held.anime_row.astype(np.int64)
    for name, fitted in available().items():
        announce(name)
        baseline, line = fitted(training), Row(name)
        predicted = baseline.ratings(judge.history, user, anime)
        if predicted is not None:
            line = judge.ratings(line, predicted)
        lists = Lists(judge)
        for users in judge.batches():
            scores = baseline.scores(judge.history, users)
            if scores is None:
                break
            lists.add(users, scores)
        yield lists.measured(line)


def _ours(model: PersonalModel, judge: Evaluator, announce: Announce) -> Iterator[Row]:
    user, anime = judge.held.user_row.astype(np.int64), judge.held.anime_row.astype(np.int64)
    mix = model.mix
    if mix.genres:
        announce("wide without genres")
        with _mixed(model, replace(mix, genres=0.0)):
            scored = model.scores(judge.history, judge.users)
            yield from _lists(judge, scored, {"wide without genres": lambda each: each.wide})
    announce("wide and deep")
    scored = model.scores(judge.history, judge.users)
    wide, deep, both, whole = _lists(
        judge,
        scored,
        {
            "wide alone": lambda each: each.wide,
            "deep alone": lambda each: each.affinity - each.wide,
            "wide and deep": lambda each: each.affinity,
            "and the rating": lambda each: each.score,
        },
    )
    if not mix.deep:  # what the mix leaves out is still to be seen
        with _mixed(model, replace(mix, deep=1.0, beta=0.0)):
            scored = model.scores(judge.history, judge.users)
            alone = {"deep alone": lambda each: each.affinity - each.wide}
            [deep] = _lists(judge, scored, alone)
    yield from (wide, deep, both)
    yield judge.ratings(whole, model.ratings(judge.history, user, anime))
    announce("visitors")
    scored = model.scores(judge.history, judge.users, strangers=True)
    [line] = _lists(judge, scored, {"visitor, history only": lambda each: each.score})
    yield judge.ratings(line, model.ratings(judge.history, user, anime, strangers=True))
    yield _of_nobody(model, judge, anime)


def _of_nobody(model: PersonalModel, judge: Evaluator, anime: np.ndarray) -> Row:
    """Without id and history everybody is the same: one answer serves for all."""
    empty = sp.csr_array((1, len(judge.listed)), dtype=np.float32)
    nothing, nobody = Interactions(empty, empty.copy()), np.zeros(1, dtype=np.int64)
    [answer] = model.scores(nothing, nobody, strangers=True)
    line = judge.lists(
        Row("visitor, nothing"), lambda users: np.repeat(answer.score, len(users), axis=0)
    )
    rows = np.zeros(len(anime), dtype=np.int64)
    return judge.ratings(line, model.ratings(nothing, rows, anime, strangers=True))


@contextmanager
def _mixed(model: PersonalModel, mix: Mix) -> Iterator[None]:
    own, model.mix = model.mix, mix
    try:
        yield
    finally:
        model.mix = own


def _lists(
    judge: Evaluator, scored: Iterator[Scores], read: dict[str, Callable[[Scores], np.ndarray]]
) -> list[Row]:
    """A line for each way to read the scores, all in one pass."""
    lists = {name: Lists(judge) for name in read}
    for each in scored:
        for name, of in read.items():
            lists[name].add(each.users, of(each))
    return [each.measured(Row(name)) for name, each in lists.items()]
