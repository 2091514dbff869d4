"""How well lists of anime meet what was held out, over the whole catalogue."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

LIKED = 8  # a rating that says "I would want to be told of this"
LENGTHS = (10, 50)


@dataclass(frozen=True)
class Relevant:
    """What was held out of each user: bool[U, A], sparse."""

    held: sp.csr_array

    @classmethod
    def of(cls, user: np.ndarray, anime: np.ndarray, shape: tuple[int, int]) -> "Relevant":
        """From pairs of rows, int64[n] each."""
        return cls(sp.csr_array((np.ones(len(user), np.float32), (user, anime)), shape=shape))

    def among(self, lists: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Whether each anime of int64[B, K] lists was held out of its user, bool[B, K]."""
        rows = np.repeat(users, lists.shape[1])
        found = np.asarray(self.held[rows, lists.ravel()]).ravel()
        return np.asarray(found.reshape(lists.shape) > 0)

    def counts(self, users: np.ndarray) -> np.ndarray:
        """How many were held out of each user, int64[B]."""
        return np.asarray(np.diff(self.held.indptr)[users])


def top(scores: np.ndarray, length: int) -> np.ndarray:
    """The places of the `length` highest of float[B, A], highest first; ties by place."""
    length = min(length, scores.shape[1])
    places = np.sort(np.argpartition(-scores, length - 1, axis=1)[:, :length], axis=1)
    lowest = np.take_along_axis(scores, places, 1).min(axis=1)
    # A partition takes any of those that tie at the cut.
    for row in np.flatnonzero((scores >= lowest[:, np.newaxis]).sum(axis=1) > length):
        above = np.flatnonzero(scores[row] > lowest[row])
        tied = np.flatnonzero(scores[row] == lowest[row])[: length - len(above)]
        places[row] = np.sort(np.concatenate([above, tied]))
    order = np.argsort(-np.take_along_axis(scores, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)


def ndcg(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002), binary relevance.

    `hits`: bool[B, K], by rank; `counts`: int64[B], relevant anime of each, above 0.
    """
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.cumsum(discount)[np.minimum(counts, hits.shape[1]) - 1]
    return np.asarray((hits * discount).sum(axis=1) / ideal)


def recall(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of the relevant anime in the list, float64[B]."""
    found: np.ndarray = hits.sum(axis=1) / counts
    return found


def coverage(lists: np.ndarray, catalogue: int) -> float:
    """Share of the `catalogue` anime that stand in any of the lists, int64[B, K]."""
    return len(np.unique(lists)) / catalogue


def overlap(lists: np.ndarray) -> float | None:
    """Mean share of two users' lists, int64[B, K], that is the same; None of fewer than two."""
    users, length = lists.shape
    if users < 2:
        return None
    shown = np.bincount(lists.ravel()).astype(np.float64)
    return float((shown * (shown - 1)).sum() / (users * (users - 1) * length))


def interval(
    sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, draws: int = 1_000
) -> tuple[float, float]:
    """95 % bootstrap interval of Σ sums / Σ counts, float[n] of users who are drawn anew."""
    means = np.empty(draws)
    for draw in range(draws):
        drawn = rng.integers(len(sums), size=len(sums))
        means[draw] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
