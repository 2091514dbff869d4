"""What lists and ratings are worth against what was held out."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training.comparison.breakdown import POPULARITIES, Breakdown
from training.comparison.held_out import HeldOut, asked_users
from training.comparison.list_metrics import genre_rows, normalised, self_information
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
from training.tables.tables import Tables

Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One model. `values`, `intervals`: by the name of a metric, absent where it predicts none.

    An interval is a 95 % bootstrap interval over users. `apart`, `apart_intervals`: by the names of
    a metric and of a group (`training.comparison.breakdown`). `raters`: how many users' ratings it
    was fitted on; None: all.
    """

    model: str
    values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    apart: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    raters: int | None = None
    apart_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float | None:
        return self.values.get(metric)

    def to_dict(self) -> dict[str, Any]:
        """Flat, as JSON keeps it: `name` and `name_interval`, null where there is none."""
        flat: dict[str, Any] = {"model": self.model, "raters": self.raters}
        for metric in METRICS:
            flat[metric.name] = self.values.get(metric.name)
            if metric.interval:
                flat[f"{metric.name}_interval"] = self.intervals.get(metric.name)
            if metric.apart:
                flat[f"{metric.name}_apart"] = self.apart.get(metric.name)
                flat[f"{metric.name}_apart_intervals"] = self.apart_intervals.get(metric.name)
        return flat

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> "Row":
        """What `to_dict` made; a metric that was not there yet is absent. Raises KeyError."""
        values, intervals, apart, apart_intervals = {}, {}, {}, {}
        for metric in METRICS:
            if (value := flat.get(metric.name)) is not None:
                values[metric.name] = float(value)
            if (between := flat.get(f"{metric.name}_interval")) is not None:
                low, high = between
                intervals[metric.name] = (float(low), float(high))
            if (groups := flat.get(f"{metric.name}_apart")) is not None:
                apart[metric.name] = {name: float(value) for name, value in groups.items()}
            if (between_of := flat.get(f"{metric.name}_apart_intervals")) is not None:
                apart_intervals[metric.name] = {
                    name: (float(low), float(high)) for name, (low, high) in between_of.items()
                }
        return cls(flat["model"], values, intervals, apart, flat["raters"], apart_intervals)

    def joined(self, other: "Row") -> "Row":
        """The same row with the figures of another as well."""
        return replace(
            self,
            values={**self.values, **other.values},
            intervals={**self.intervals, **other.intervals},
            apart={**self.apart, **other.apart},
            apart_intervals={**self.apart_intervals, **other.apart_intervals},
        )


class Evaluator:
    """Holds what was held out, and the histories that requests bring.

    Both are of the users who are asked about, `users`: int64[n]. `listed`: bool[A], the anime that
    lists are made of, less what is known of the user.
    """

    def __init__(
        self, tables: Tables, parts: Split, held: HeldOut, expectation: Expectation
    ) -> None:
        self.users = asked_users(held.ratings)
        asked = np.zeros(len(tables.users), dtype=np.bool_)
        asked[self.users] = True
        self.held = held.ratings.at(np.flatnonzero(asked[held.ratings.user_row]))
        self.listed = held.listed

        def of(rows: np.ndarray) -> Interactions:
            own = rows[asked[tables.ratings.user_row[rows]]]
            return Interactions.of(tables.ratings, own, expectation, len(asked))

        self.history, self.left_out = of(parts.known), of(held.left_out).watched
        user, anime = self.pairs
        liked = self.held.rating >= LIKED
        shape = self.history.watched.shape
        self.relevant = Relevant.of(user, anime, shape)
        self.liked = Relevant.of(user[liked], anime[liked], shape)
        trained = tables.ratings.at(parts.train)
        self.popularity = np.bincount(trained.anime_row, minlength=shape[1])
        self.information = self_information(self.popularity, len(np.unique(trained.user_row)))
        self.genres = genre_rows(tables.anime["genres"].tolist())
        self.watched_genres = normalised(self.history.watched @ self.genres)
        lengths = np.diff(self.history.watched.indptr)
        genders = tables.users["gender"].tolist()
        self.breakdown = Breakdown.of(lengths, self.popularity, genders)
        of_anime = self.breakdown.of_anime[:, np.newaxis] == np.arange(len(POPULARITIES))
        # Of each user, int64[U, 3]: how many held-out anime are of each group.
        self.held_by_popularity = (self.relevant.held @ of_anime).astype(np.int64)

    @property
    def groups(self) -> dict[str, dict[str, int]]:
        """How many users and held-out ratings each group of the breakdown has."""
        user, anime = self.pairs
        return {
            name: {"users": len(np.unique(user[chosen])), "ratings": int(chosen.sum())}
            for name, chosen in self.breakdown.groups(user, anime).items()
        }

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the users and of the anime that were held out, int64[n] each."""
        return self.held.user_row.astype(np.int64), self.held.anime_row.astype(np.int64)

    def ratings(self, row: Row, predicted: np.ndarray) -> Row:
        """`row` with the errors of predicted ratings, float[n], which are cut to 1 to 10."""
        difference = np.clip(predicted, 1, 10) - self.held.rating
        user, anime = self.pairs
        groups = self.breakdown.groups(user, anime)
        values: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        apart: dict[str, dict[str, float]] = {}
        apart_intervals: dict[str, dict[str, Interval]] = {}
        for metric in METRICS:
            if isinstance(metric, RatingMetric):
                errors = metric.per_rating(difference)
                values[metric.name] = metric.finish(float(np.mean(errors)))
                if metric.interval:
                    intervals[metric.name] = _of_ratings(metric, user, errors)
                if metric.apart:
                    some = {name: chosen for name, chosen in groups.items() if chosen.any()}
                    apart[metric.name] = {
                        name: metric.finish(float(np.mean(errors[chosen])))
                        for name, chosen in some.items()
                    }
                    apart_intervals[metric.name] = {
                        name: _of_ratings(metric, user[chosen], errors[chosen])
                        for name, chosen in some.items()
                    }
        return row.joined(Row(row.model, values, intervals, apart, None, apart_intervals))

    def lists(self, row: Row, scores: Callable[[np.ndarray], np.ndarray]) -> Row:
        """`row` with what the lists by `scores`, of int64[B] users float32[B, A], are worth."""
        lists = Lists(self)
        for users in self.batches():
            lists.add(users, scores(users))
        return lists.measured(row)

    def among_listed(self, users: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """float32[B, A] scores of int64[B] users, -inf for anime that no list of theirs has."""
        found, left_out = scores.copy(), self.left_out[users].tocoo()
        found[left_out.row, left_out.col] = -np.inf
        found[:, ~self.listed] = -np.inf
        return found

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
        self.apart: dict[str, dict[str, list[np.ndarray]]] = {
            each.name: defaultdict(list) for each in self.metrics if each.apart
        }

    def add(self, users: np.ndarray, scores: np.ndarray) -> None:
        """The lists of int64[B] users, of whom each is added once, by float32[B, A] scores."""
        evaluator = self.evaluator
        among = scores[:, evaluator.listed]
        self.told_apart |= bool((among.max(axis=1) > among.min(axis=1)).any())
        longest = top(evaluator.among_listed(users, scores), LONGEST)
        ten = longest[:, :TEN]
        self.tens.append(ten)
        relevant, liked = evaluator.relevant, evaluator.liked
        lists = UserLists(
            relevant.among(longest, users),
            relevant.counts(users),
            liked.among(longest, users),
            liked.counts(users),
            evaluator.information[ten],
            evaluator.genres[ten],
            evaluator.watched_genres[users],
        )
        for metric in self.metrics:
            found = metric.per_user(lists)
            self.per_user[metric.name].append(found)
            if metric.apart:
                self._take_apart(metric, users, longest, lists, found)

    def _take_apart(
        self,
        metric: UserMetric,
        users: np.ndarray,
        longest: np.ndarray,
        lists: UserLists,
        found: np.ndarray,
    ) -> None:
        """The same lists, of some users; and of all, as if some anime alone had been held out."""
        breakdown, apart = self.evaluator.breakdown, self.apart[metric.name]
        for name, of in breakdown.of_users.items():
            apart[name].append(found[of[users]])
        for place, name in enumerate(POPULARITIES):
            counts = self.evaluator.held_by_popularity[users, place]
            hits = lists.hits & (breakdown.of_anime[longest] == place)
            values = metric.per_user(lists._replace(hits=hits, counts=np.maximum(counts, 1)))
            apart[name].append(values[counts > 0])

    def measured(self, row: Row) -> Row:
        """`row` with the metrics, or as it is where the scores of all anime were the same."""
        if not self.told_apart:
            return row
        values: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        apart: dict[str, dict[str, float]] = {}
        apart_intervals: dict[str, dict[str, Interval]] = {}
        for metric in self.metrics:
            every = np.concatenate(self.per_user[metric.name])
            each = every[~np.isnan(every)]
            if len(each):
                values[metric.name] = float(each.mean())
                if metric.interval:
                    intervals[metric.name] = _of_users(each)
            if metric.apart:
                groups = {n: np.concatenate(of) for n, of in self.apart[metric.name].items()}
                some = {n: of for n, of in groups.items() if len(of)}
                apart[metric.name] = {n: float(of.mean()) for n, of in some.items()}
                apart_intervals[metric.name] = {n: _of_users(of) for n, of in some.items()}
        evaluator = self.evaluator
        together = AllLists(
            np.concatenate(self.tens), int(evaluator.listed.sum()), evaluator.popularity
        )
        for other in METRICS:
            if isinstance(other, ListsMetric) and (value := other.of_all(together)) is not None:
                values[other.name] = value
        return row.joined(Row(row.model, values, intervals, apart, None, apart_intervals))


def _of_ratings(metric: RatingMetric, user: np.ndarray, errors: np.ndarray) -> Interval:
    """The interval of errors, float[n], of the ratings of users at int64[n]."""
    counts = np.bincount(user)
    some = counts > 0
    sums = np.bincount(user, errors)
    low, high = interval(sums[some], counts[some], np.random.default_rng(0))
    return metric.finish(low), metric.finish(high)


def _of_users(values: np.ndarray) -> Interval:
    """The interval of the mean of a value a user, float[n]."""
    return interval(values, np.ones(len(values)), np.random.default_rng(0))
