"""What lists and ratings are worth against what was held out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training.comparison.metrics import (
    LONGEST,
    METRICS,
    TEN,
    AllLists,
    ListsMetric,
    RatingMetric,
    UserLists,
    UserMetric,
)
from training.comparison.ranking_metrics import LIKED, Relevant, interval, top
from training.interactions.expectation import Expectation
from training.interactions.interactions import USERS_AT_ONCE, Interactions
from training.splits import Split
from training.tables.tables import Ratings, Tables

# Lists are made for as many of the users at most: more hardly narrow the intervals.
LISTED_USERS = 10_000

Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One model. `values`, `intervals`: by the name of a metric, absent where it predicts none.

    An interval is a 95 % bootstrap interval over users.
    """

    model: str
    values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float | None:
        return self.values.get(metric)

    def to_dict(self) -> dict[str, Any]:
        """Flat, as JSON keeps it: `name` and `name_interval`, null where there is none."""
        flat: dict[str, Any] = {"model": self.model}
        for metric in METRICS:
            flat[metric.name] = self.values.get(metric.name)
            if metric.interval:
                flat[f"{metric.name}_interval"] = self.intervals.get(metric.name)
        return flat

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> "Row":
        """What `to_dict` made; a metric that was not there yet is absent. Raises KeyError."""
        values, intervals = {}, {}
        for metric in METRICS:
            if (value := flat.get(metric.name)) is not None:
                values[metric.name] = float(value)
            if (between := flat.get(f"{metric.name}_interval")) is not None:
                low, high = between
                intervals[metric.name] = (float(low), float(high))
        return cls(flat["model"], values, intervals)

    def joined(self, values: Mapping[str, float], intervals: Mapping[str, Interval]) -> "Row":
        """The same row with these values and intervals as well."""
        return replace(
            self, values={**self.values, **values}, intervals={**self.intervals, **intervals}
        )


class Evaluator:
    """Holds what was held out, and the histories that requests bring.

    `listed`: bool[A], the anime that lists are made of, less the user's history.
    """

    def __init__(
        self,
        tables: Tables,
        parts: Split,
        held: Ratings,
        expectation: Expectation,
        listed: np.ndarray,
    ) -> None:
        self.history = Interactions.of(tables.ratings, parts.known, expectation, len(tables.users))
        self.held, self.listed, shape = held, listed, self.history.watched.shape
        liked = held.rating >= LIKED
        self.relevant = Relevant.of(held.user_row, held.anime_row, shape)
        self.liked = Relevant.of(held.user_row[liked], held.anime_row[liked], shape)
        users = np.unique(held.user_row).astype(np.int64)
        self.users = np.sort(np.random.default_rng(0).permutation(users)[:LISTED_USERS])
        trained = tables.ratings.anime_row[parts.train]
        self.popularity = np.bincount(trained, minlength=shape[1])

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the users and of the anime that were held out, int64[n] each."""
        return self.held.user_row.astype(np.int64), self.held.anime_row.astype(np.int64)

    def ratings(self, row: Row, predicted: np.ndarray) -> Row:
        """`row` with the errors of predicted ratings, float[n], which are cut to 1 to 10."""
        difference = np.clip(predicted, 1, 10) - self.held.rating
        counts = np.bincount(self.held.user_row)
        some = counts > 0
        values, intervals = {}, {}
        for metric in METRICS:
            if isinstance(metric, RatingMetric):
                errors = metric.per_rating(difference)
                values[metric.name] = metric.finish(float(np.mean(errors)))
                if metric.interval:
                    sums = np.bincount(self.held.user_row, errors)
                    low, high = interval(sums[some], counts[some], np.random.default_rng(0))
                    intervals[metric.name] = (metric.finish(low), metric.finish(high))
        return row.joined(values, intervals)

    def lists(self, row: Row, scores: Callable[[np.ndarray], np.ndarray]) -> Row:
        """`row` with what the lists by `scores`, of int64[B] users float32[B, A], are worth."""
        lists = Lists(self)
        for users in self.batches():
            lists.add(users, scores(users))
        return lists.measured(row)

    @property
    def steps(self) -> int:
        """How many `batches` there are."""
        return -(-len(self.users) // USERS_AT_ONCE)

    def batches(self) -> Iterator[np.ndarray]:
        """All users who are asked about, int64[B], some at a time."""
        for start in range(0, len(self.users), USERS_AT_ONCE):
            yield self.users[start : start + USERS_AT_ONCE]


class Lists:
    """The lists of one model, measured as they come in."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator, self.told_apart = evaluator, False
        self.tens: list[np.ndarray] = []
        self.metrics = [metric for metric in METRICS if isinstance(metric, UserMetric)]
        self.per_user: dict[str, list[np.ndarray]] = {each.name: [] for each in self.metrics}

    def add(self, users: np.ndarray, scores: np.ndarray) -> None:
        """The lists of int64[B] users, of whom each is added once, by float32[B, A] scores."""
        evaluator, scores = self.evaluator, scores.copy()
        among = scores[:, evaluator.listed]
        self.told_apart |= bool((among.max(axis=1) > among.min(axis=1)).any())
        watched = evaluator.history.watched[users].tocoo()
        scores[watched.row, watched.col] = -np.inf
        scores[:, ~evaluator.listed] = -np.inf
        longest = top(scores, LONGEST)
        self.tens.append(longest[:, :TEN])
        relevant, liked = evaluator.relevant, evaluator.liked
        lists = UserLists(
            relevant.among(longest, users),
            relevant.counts(users),
            liked.among(longest, users),
            liked.counts(users),
        )
        for metric in self.metrics:
            self.per_user[metric.name].append(metric.per_user(lists))

    def measured(self, row: Row) -> Row:
        """`row` with the metrics, or as it is where the scores of all anime were the same."""
        if not self.told_apart:
            return row
        values: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        for metric in self.metrics:
            every = np.concatenate(self.per_user[metric.name])
            each = every[~np.isnan(every)]
            if len(each):
                values[metric.name] = float(each.mean())
                if metric.interval:
                    ones, rng = np.ones(len(each)), np.random.default_rng(0)
                    intervals[metric.name] = interval(each, ones, rng)
        evaluator = self.evaluator
        together = AllLists(
            np.concatenate(self.tens), int(evaluator.listed.sum()), evaluator.popularity
        )
        for other in METRICS:
            if isinstance(other, ListsMetric) and (value := other.of_all(together)) is not None:
                values[other.name] = value
        return row.joined(values, intervals)
