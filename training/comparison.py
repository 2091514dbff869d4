"""A `personal` run beside the models one would try before it, on the same held-out ratings."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from training.crosses import ease
from training.expectation import Expectation
from training.histories import Interactions
from training.personal import USERS_AT_ONCE, Personal
from training.preparation import read_ratings
from training.ranking import LENGTHS, LIKED, Relevant, interval, ndcg, recall, top
from training.run import PersonalRun, write_text
from training.splits import split_by_user
from training.tables import Ratings, Tables

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Line:
    """One model. None: the model does not predict this.

    `ndcg`, `ndcg_liked`: at 10, of all that was held out and of what was rated 8 or more, with the
    95 % bootstrap interval of the first; `recall_10`, `recall_50`, `hit_10`: of all;
    `coverage`: share of the catalogue in anybody's ten; `popularity`: mean training ratings of
    the anime in the tens; `overlap`: mean share of two users' tens that is the same.
    """

    model: str
    rmse: float | None = None
    mae: float | None = None
    ndcg: float | None = None
    ndcg_interval: tuple[float, float] | None = None
    ndcg_liked: float | None = None
    recall_10: float | None = None
    recall_50: float | None = None
    hit_10: float | None = None
    coverage: float | None = None
    popularity: float | None = None
    overlap: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The table of a run."""

    run: str
    rows: str
    ratings: int
    lines: list[Line]

    def to_json(self) -> str:
        """As JSON, indented."""
        return json.dumps(asdict(self), indent=2)

    def __rich__(self) -> Table:
        title = f"{self.run}: {self.rows}, {self.ratings:,} ratings, lists over all anime"
        table = Table(title=title, title_justify="left")
        shown = {
            "rmse": "RMSE",
            "ndcg": "NDCG",
            "ndcg_liked": "8+",
            "recall_10": "R@10",
            "recall_50": "R@50",
            "hit_10": "hit",
            "coverage": "cover",
        }
        table.add_column("model", no_wrap=True)
        for heading in shown.values():
            table.add_column(heading, justify="right", no_wrap=True)
        table.caption = (
            "NDCG at 10 of all held out, and of those rated 8 or more; hit: one of ten at least; "
            "cover: share of the catalogue in anybody's ten. More in the JSON."
        )
        table.caption_justify = "left"
        for line in self.lines:
            values = (getattr(line, name) for name in shown)
            table.add_row(line.model, *("" if v is None else f"{v:.3f}" for v in values))
        return table


def compare(run: PersonalRun, ratings_file: Path | None = None) -> Comparison:
    """The run's model and the baselines, all fitted on the run's training rows.

    Tried on the run's test rows, or on the ratings of `ratings_file`. What is compared on the test
    rows is also kept in evaluation.json. Raises RunError and DataError.
    """
    tables = run.tables()
    model = Personal.load(run, tables)
    parts = split_by_user(tables, run.preset.split, run.preset.seed)
    if ratings_file is None:
        held, described = _at(tables.ratings, parts.test), "test rows"
    else:
        held, _ = read_ratings(ratings_file, tables)
        described = ratings_file.name
    judge = _Judge(tables, parts.train, held, model.expectation)
    lines = [*_rating_baselines(tables, parts.train, held, model.expectation)]
    lines += [*_list_baselines(run, model, judge), *_ours(model, judge)]
    comparison = Comparison(run.folder.name, described, len(held), lines)
    if ratings_file is None:
        write_text(run.folder / "evaluation.json", comparison.to_json())
    return comparison


def _at(ratings: Ratings, rows: np.ndarray) -> Ratings:
    return Ratings(ratings.user_row[rows], ratings.anime_row[rows], ratings.rating[rows])


class _Judge:
    """Measures lists and ratings against what was held out."""

    def __init__(
        self, tables: Tables, train: np.ndarray, held: Ratings, expectation: Expectation
    ) -> None:
        self.interactions = Interactions.of(tables.ratings, train, expectation, len(tables.users))
        self.held, shape = held, self.interactions.watched.shape
        liked = held.rating >= LIKED
        self.relevant = Relevant.of(held.user_row, held.anime_row, shape)
        self.liked = Relevant.of(held.user_row[liked], held.anime_row[liked], shape)
        self.users = np.unique(held.user_row).astype(np.int64)
        self.popularity = np.bincount(self.interactions.watched.indices, minlength=shape[1])

    def lists(self, line: Line, batches: Batches) -> Line:
        """`line` with what the lists by these scores, (users, float[B, A]) each, are worth."""
        measured: dict[str, list[np.ndarray]] = {"10": [], "50": [], "liked": [], "ndcg": []}
        tens = []
        for users, scores in batches:
            scores = scores.copy()
            watched = self.interactions.watched[users].tocoo()
            scores[watched.row, watched.col] = -np.inf
            longest = top(scores, max(LENGTHS))
            hits, counts = self.relevant.among(longest, users), self.relevant.counts(users)
            tens.append(longest[:, :10])
            measured["ndcg"].append(ndcg(hits[:, :10], counts))
            for length in LENGTHS:
                measured[str(length)].append(recall(hits[:, :length], counts))
            some = self.liked.counts(users) > 0
            good = self.liked.among(longest[some, :10], users[some])
            measured["liked"].append(ndcg(good, self.liked.counts(users)[some]))
        per_user = {name: np.concatenate(values) for name, values in measured.items()}
        ten = np.concatenate(tens)
        shown = np.bincount(ten.ravel(), minlength=len(self.popularity)).astype(np.float64)
        pairs = len(ten) * (len(ten) - 1)
        return replace(
            line,
            ndcg=float(per_user["ndcg"].mean()),
            ndcg_interval=interval(per_user["ndcg"], np.random.default_rng(0)),
            ndcg_liked=float(per_user["liked"].mean()),
            recall_10=float(per_user["10"].mean()),
            recall_50=float(per_user["50"].mean()),
            hit_10=float((per_user["10"] > 0).mean()),
            coverage=float((shown > 0).mean()),
            popularity=float(self.popularity[ten].mean()),
            overlap=float((shown * (shown - 1)).sum() / pairs / 10) if pairs else None,
        )

    def batches(self, scores: Callable[[np.ndarray], np.ndarray]) -> Batches:
        """All users with something held out, scored some at a time."""
        for start in range(0, len(self.users), USERS_AT_ONCE):
            users = self.users[start : start + USERS_AT_ONCE]
            yield users, scores(users)


def _errors(line: Line, predicted: np.ndarray, held: Ratings) -> Line:
    difference = np.clip(predicted, 1, 10) - held.rating
    return replace(
        line,
        rmse=float(np.sqrt(np.mean(difference**2))),
        mae=float(np.mean(np.abs(difference))),
    )


def _rating_baselines(
    tables: Tables, train: np.ndarray, held: Ratings, expectation: Expectation
) -> Iterator[Line]:
    yield _errors(Line("global mean"), np.full(len(held), expectation.mean), held)
    item = expectation.mean + expectation.anime[held.anime_row]
    yield _errors(Line("item bias"), item, held)
    known = tables.ratings
    both = Ratings(
        np.concatenate([known.user_row[train], held.user_row]),
        np.concatenate([known.anime_row[train], held.anime_row]),
        np.concatenate([known.rating[train], held.rating]),
    )
    rows = np.arange(len(both))
    biased = expectation.biased(both, rows[: len(train)], rows[len(train) :])
    yield _errors(Line("user + item bias"), biased, held)


def _list_baselines(run: PersonalRun, model: Personal, judge: _Judge) -> Iterator[Line]:
    counts = judge.popularity.astype(np.float32)
    popular = judge.batches(lambda users: np.tile(counts, (len(users), 1)))
    yield judge.lists(Line("popularity"), popular)
    damped = model.expectation.anime.astype(np.float32)
    mean = judge.batches(lambda users: np.tile(damped, (len(users), 1)))
    yield judge.lists(Line("damped mean"), mean)
    watched = judge.interactions.watched
    rows, weights = ease(watched, run.preset.ridge, 0.0, torch.device("cpu"))

    def linear(users: np.ndarray) -> np.ndarray:
        scores = np.full((len(users), watched.shape[1]), -np.inf, dtype=np.float32)
        scores[:, rows] = watched[users][:, rows] @ weights.numpy()
        return scores

    yield judge.lists(Line("EASE"), judge.batches(linear))


def _ours(model: Personal, judge: _Judge) -> Iterator[Line]:
    mix = model.mix
    rows = np.arange(len(judge.held))
    user, anime = judge.held.user_row.astype(np.int64), judge.held.anime_row
    predicted = model.ratings(judge.interactions, user[rows], anime)
    scored = model.scores(judge.interactions, judge.users)
    yield judge.lists(Line("wide alone"), ((each.users, each.wide) for each in scored))
    scored = model.scores(judge.interactions, judge.users)
    deep = ((each.users, each.affinity - each.wide) for each in scored)
    yield judge.lists(Line("deep alone"), deep)
    model.mix = replace(mix, beta=0.0)
    scored = model.scores(judge.interactions, judge.users)
    yield judge.lists(Line("wide and deep"), ((each.users, each.affinity) for each in scored))
    model.mix = mix
    scored = model.scores(judge.interactions, judge.users)
    whole = judge.lists(Line("and the rating"), ((each.users, each.score) for each in scored))
    yield _errors(whole, predicted, judge.held)
