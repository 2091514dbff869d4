"""The metrics of a comparison: a new one is a row of `METRICS`, and stands in every table."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from training.comparison.list_metrics import diversity, genre_shares, miscalibration
from training.comparison.ranking_metrics import coverage, ndcg, overlap, recall

TEN = 10
LONGEST = 50  # anime in the longest list that is measured


class UserLists(NamedTuple):
    """The lists of a batch of users, by rank, and what of them was held out.

    hits, liked_hits: bool[B, LONGEST], whether it was held out, and rated 8 or more; counts,
    liked_counts: int64[B], how many such anime each user has. ten_information: float64[B, 10], in
    bits, and ten_genres: float64[B, 10, G], of the first ten; watched_genres: float64[B, G], the
    genres' shares of the history.
    """

    hits: np.ndarray
    counts: np.ndarray
    liked_hits: np.ndarray
    liked_counts: np.ndarray
    ten_information: np.ndarray
    ten_genres: np.ndarray
    watched_genres: np.ndarray


class AllLists(NamedTuple):
    """The tens of all users, int64[U, 10]; how many anime lists are made of; training ratings of
    each anime, int64[A]."""

    tens: np.ndarray
    listed: int
    popularity: np.ndarray


@dataclass(frozen=True)
class Metric:
    """A column. name: in JSON. heading: in the report; short: on a terminal, where it stands there.

    best: whether the highest or the lowest is; None: neither. digits: behind the point. interval:
    whether a 95 % bootstrap interval over users stands beside it. apart: whether it is also taken
    apart by groups of users and of anime. accuracy: whether it says how well what was held out is
    met; the others stand in a table of their own.
    """

    name: str
    heading: str
    meaning: str
    best: Literal["highest", "lowest"] | None
    short: str | None = None
    digits: int = 3
    interval: bool = False
    apart: bool = False
    accuracy: bool = True


@dataclass(frozen=True)
class RatingMetric(Metric):
    """Of predicted ratings: `finish` of the mean of `per_rating` of the differences, float[n]."""

    per_rating: Callable[[np.ndarray], np.ndarray] = np.abs
    finish: Callable[[float], float] = float


@dataclass(frozen=True)
class UserMetric(Metric):
    """Of each user's list: the mean of `per_user`, float64[B]; NaN where a user does not count."""

    per_user: Callable[[UserLists], np.ndarray] = lambda lists: lists.counts


@dataclass(frozen=True)
class ListsMetric(Metric):
    """Of the lists of all users together."""

    of_all: Callable[[AllLists], float | None] = lambda lists: None


def _ndcg_liked(lists: UserLists) -> np.ndarray:
    some = lists.liked_counts > 0
    found = np.full(len(some), np.nan)
    found[some] = ndcg(lists.liked_hits[some, :TEN], lists.liked_counts[some])
    return found


METRICS: tuple[Metric, ...] = (
    RatingMetric(
        "rmse", "RMSE", "error of the predicted rating", "lowest", "RMSE",
        interval=True, apart=True, per_rating=np.square, finish=math.sqrt,
    ),
    RatingMetric("mae", "MAE", "mean absolute error of the rating", "lowest"),
    UserMetric(
        "ndcg", "NDCG@10", "of all that was held out", "highest", "NDCG",
        interval=True, apart=True, per_user=lambda lists: ndcg(lists.hits[:, :TEN], lists.counts),
    ),
    UserMetric(
        "ndcg_liked", "NDCG@10, 8+", "of what was rated 8 or more", "highest", "8+",
        interval=True, per_user=_ndcg_liked,
    ),
    UserMetric(
        "recall_10", "Recall@10", "share of the held-out anime in ten", "highest", "R@10",
        per_user=lambda lists: recall(lists.hits[:, :TEN], lists.counts),
    ),
    UserMetric(
        "recall_50", "Recall@50", "share of the held-out anime in fifty", "highest", "R@50",
        per_user=lambda lists: recall(lists.hits, lists.counts),
    ),
    UserMetric(
        "hit_10", "Hit@10", "users with one of them in ten at least", "highest", "hit",
        per_user=lambda lists: np.any(lists.hits[:, :TEN], axis=1, keepdims=True)[:, 0] * 1.0,
    ),
    ListsMetric(
        "coverage", "Coverage", "share of the anime in anybody's ten", None, "cover",
        accuracy=False, of_all=lambda lists: coverage(lists.tens, lists.listed),
    ),
    UserMetric(
        "novelty", "Novelty", "how rarely the listed are watched, bits", None, "novel",
        digits=2, accuracy=False, per_user=lambda lists: lists.ten_information.mean(axis=1),
    ),
    UserMetric(
        "diversity", "Diversity", "how far the genres in a ten differ, 0 to 1", None, "diverse",
        accuracy=False, per_user=lambda lists: diversity(lists.ten_genres),
    ),
    UserMetric(
        "miscalibration", "Miscalibration", "of the ten's genres beside the history's, nats",
        "lowest", "miscal", accuracy=False,
        per_user=lambda lists: miscalibration(
            lists.watched_genres, genre_shares(lists.ten_genres)
        ),
    ),
    ListsMetric(
        "popularity", "Popularity", "mean training ratings of the listed", None, "popular",
        digits=0, accuracy=False,
        of_all=lambda lists: float(lists.popularity[lists.tens].mean()),
    ),
    ListsMetric(
        "overlap", "Overlap", "share that two users' tens have in common", None, "overlap",
        accuracy=False, of_all=lambda lists: overlap(lists.tens),
    ),
)  # fmt: skip
