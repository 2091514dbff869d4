"""What lists and ratings are worth against what was held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.comparison.ranking_metrics import (
    LENGTHS,
    LIKED,
    Relevant,
    coverage,
    interval,
    ndcg,
    overlap,
    recall,
    top,
)
from training.interactions.expectation import Expectation
from training.interactions.interactions import Interactions
from training.splits import Split
from training.tables.tables import Ratings, Tables

TEN = 10
USERS_AT_ONCE = 256
# Lists are made for as many of the users at most: more hardly narrow the intervals.
LISTED_USERS = 10_000


@dataclass(frozen=True)
class Row:
    """One model. None: the model does not predict this.

    `rmse`, `mae`: of ratings cut to 1 to 10. `ndcg`, `ndcg_liked`: at 10, of all that was held out
    and of what was rated 8 or more; `recall_10`, `recall_50`, `hit_10`: of all. `coverage`: share
    of the listed anime in anybody's ten; `popularity`: mean training ratings of the anime in the
    tens; `overlap`: mean share of two users' tens that is the same. Intervals are 95 % bootstrap
    intervals over users.
    """

    model: str
    rmse: float | None = None
    rmse_interval: tuple[float, float] | None = None
    mae: float | None = None
    ndcg: float | None = None
    ndcg_interval: tuple[float, float] | None = None
    ndcg_liked: float | None = None
    ndcg_liked_interval: tuple[float, float] | None = None
    recall_10: float | None = None
    recall_50: float | None = None
    hit_10: float | None = None
    coverage: float | None = None
    popularity: float | None = None
    overlap: float | None = None


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

    def ratings(self, line: Row, predicted: np.ndarray) -> Row:
        """`line` with the errors of predictions of the held-out ratings, float[n]."""
        difference = np.clip(predicted, 1, 10) - self.held.rating
        sums = np.bincount(self.held.user_row, difference**2)
        counts = np.bincount(self.held.user_row)
        low, high = interval(sums[counts > 0], counts[counts > 0], np.random.default_rng(0))
        return replace(
            line,
            rmse=float(np.sqrt(np.mean(difference**2))),
            rmse_interval=(low**0.5, high**0.5),
            mae=float(np.mean(np.abs(difference))),
        )

    def lists(self, line: Row, scores: Callable[[np.ndarray], np.ndarray]) -> Row:
        """`line` with what the lists by `scores`, of int64[B] users float32[B, A], are worth."""
        lists = Lists(self)
        for users in self.batches():
            lists.add(users, scores(users))
        return lists.measured(line)

    def batches(self) -> Iterator[np.ndarray]:
        """All users who are asked about, int64[B], some at a time."""
        for start in range(0, len(self.users), USERS_AT_ONCE):
            yield self.users[start : start + USERS_AT_ONCE]


class Lists:
    """The lists of one model, measured as they come in."""

    def __init__(self, judge: Evaluator) -> None:
        self.judge, self.told_apart = judge, False
        self.tens: list[np.ndarray] = []
        names = ("ndcg", "ndcg_liked", *(f"recall_{length}" for length in LENGTHS))
        self.per_user: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def add(self, users: np.ndarray, scores: np.ndarray) -> None:
        """The lists of int64[B] users, of whom each is added once, by float32[B, A] scores."""
        judge, scores = self.judge, scores.copy()
        among = scores[:, judge.listed]
        self.told_apart |= bool((among.max(axis=1) > among.min(axis=1)).any())
        watched = judge.history.watched[users].tocoo()
        scores[watched.row, watched.col] = -np.inf
        scores[:, ~judge.listed] = -np.inf
        longest = top(scores, max(LENGTHS))
        hits, counts = judge.relevant.among(longest, users), judge.relevant.counts(users)
        self.tens.append(longest[:, :TEN])
        self.per_user["ndcg"].append(ndcg(hits[:, :TEN], counts))
        for length in LENGTHS:
            self.per_user[f"recall_{length}"].append(recall(hits[:, :length], counts))
        liked = judge.liked.counts(users)
        good = judge.liked.among(longest[liked > 0, :TEN], users[liked > 0])
        self.per_user["ndcg_liked"].append(ndcg(good, liked[liked > 0]))

    def measured(self, line: Row) -> Row:
        """`line` with the measures, or as it is where the scores of all anime were the same."""
        if not self.told_apart:
            return line
        values = {name: np.concatenate(each) for name, each in self.per_user.items()}
        found: dict[str, Any] = {
            name: float(each.mean()) for name, each in values.items() if len(each)
        }
        for name in ("ndcg", "ndcg_liked"):
            if len(each := values[name]):
                ones, rng = np.ones(len(each)), np.random.default_rng(0)
                found[f"{name}_interval"] = interval(each, ones, rng)
        tens = np.concatenate(self.tens)
        return replace(
            line,
            **found,
            hit_10=float((values["recall_10"] > 0).mean()),
            coverage=coverage(tens, int(self.judge.listed.sum())),
            popularity=float(self.judge.popularity[tens].mean()),
            overlap=overlap(tens),
        )
