"""What is asked of compiled code, what it answers, and who is among the best."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled_to_the_letter
from handlers.engine.query import HIGHEST_RATING, LOWEST_RATING, Objective

RATING, AFFINITY = int(Objective.RATING), int(Objective.AFFINITY)
LOWEST, HIGHEST = np.float32(LOWEST_RATING), np.float32(HIGHEST_RATING)


class Asked(NamedTuple):
    """One request.

    user: row of the tables; watched: int64[H], ids; ratings: float32[H], NaN = not rated; profile:
    float32[P], NaN = not given; candidates: int64[N], ids, each once.
    """

    user: int
    watched: NDArray[np.int64]
    ratings: NDArray[np.float32]
    profile: NDArray[np.float32]
    candidates: NDArray[np.int64]


class Need(NamedTuple):
    """What is asked for: how many, by which score; beta and mean are those of the blended one."""

    top_k: int
    objective: int
    beta: np.float32
    mean: np.float32


# The K best candidates, best first, equal ones in the order of their places: int64[K] places among
# the candidates; float32[4, K] scores, ratings, affinities and wide scores; whether all that was
# computed is finite, without which the others mean nothing. Each array more would cost its making.
Ranked = tuple[NDArray[np.int64], NDArray[np.float32], bool]


@compiled_to_the_letter
def score_of(affinity: np.float32, rating: np.float32, need: Need) -> np.float32:
    """The score that orders."""
    if need.objective == RATING:
        return rating
    if need.objective == AFFINITY:
        return affinity
    return affinity + need.beta * (rating - need.mean)


@compiled_to_the_letter
def in_the_running(affinity: NDArray[np.float32], need: Need) -> NDArray[np.int64]:
    """The places of float32[N] candidates that can be among the best, told before they are rated.

    A rating lies within 1 to 10, so that the affinity bounds the score from both sides, and who
    stays below the k-th best of all the lower bounds is not among the best k.
    """
    count = len(affinity)
    if need.top_k >= count or need.objective == RATING:
        return np.arange(count)
    low, high = np.empty_like(affinity), np.empty_like(affinity)
    for n in range(count):
        one, other = score_of(affinity[n], LOWEST, need), score_of(affinity[n], HIGHEST, need)
        low[n], high[n] = min(one, other), max(one, other)
    edge = kth_highest(low, need.top_k)
    places, found = np.empty(count, np.int64), 0
    for n in range(count):
        if high[n] >= edge:
            places[found] = n
            found += 1
    return places[:found]


@compiled_to_the_letter
def likeliest_first(
    places: NDArray[np.int64], affinity: NDArray[np.float32], need: Need
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """int64[n] places among float32[N] candidates by the highest score each can have, and those."""
    highest = np.empty(len(places), np.float32)
    for n in range(len(places)):
        one = score_of(affinity[places[n]], LOWEST, need)
        highest[n] = max(one, score_of(affinity[places[n]], HIGHEST, need))
    order = np.argsort(-highest, kind="mergesort")
    return places[order], highest[order]


@compiled_to_the_letter
def settled(scores: NDArray[np.float32], highest: np.float32, need: Need) -> bool:
    """Whether the best are among float32[n] scores, as no other candidate can have a higher one."""
    if need.objective == RATING or len(scores) < need.top_k:
        return False
    return bool(highest < kth_highest(scores, need.top_k))


@compiled_to_the_letter
def best_of(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """int64[k], the places of the k highest of float32[N] finite scores, highest first.

    Equal scores stand in the order of their places, at the edge of the cut as well.
    """
    if k >= len(scores):
        return np.argsort(-scores, kind="mergesort")
    edge = kth_highest(scores, k)
    above = 0
    for score in scores:
        above += score > edge
    level, found = k - above, 0
    places = np.empty(k, np.int64)
    for n in range(len(scores)):
        if scores[n] > edge or (scores[n] == edge and level > 0):
            level -= scores[n] == edge
            places[found] = n
            found += 1
    return places[np.argsort(-scores[places], kind="mergesort")]


@compiled_to_the_letter
def kth_highest(scores: NDArray[np.float32], k: int) -> np.float32:
    """The k-th highest of float32[N] finite scores, 1 <= k <= N."""
    heap = scores[:k].copy()  # the k highest so far, the lowest of them at its root
    for root in range(k // 2 - 1, -1, -1):
        _sift_down(heap, root)
    for n in range(k, len(scores)):
        if scores[n] > heap[0]:
            heap[0] = scores[n]
            _sift_down(heap, 0)
    kth: np.float32 = heap[0]
    return kth


@compiled_to_the_letter
def _sift_down(heap: NDArray[np.float32], at: int) -> None:
    """Let the entry at `at` sink to where it belongs."""
    value, size = heap[at], len(heap)
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


@compiled_to_the_letter
def ranked(
    places: NDArray[np.int64],
    scores: NDArray[np.float32],
    ratings: NDArray[np.float32],
    affinities: NDArray[np.float32],
    wides: NDArray[np.float32],
    top_k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of n candidates that were rated.

    places: int64[n], among all N; scores, ratings: float32[n]; affinities, wides: float32[N].
    """
    order = best_of(scores, min(top_k, len(scores)))
    best, columns = places[order], np.empty((4, len(order)), np.float32)
    for k in range(len(order)):
        columns[0, k], columns[1, k] = scores[order[k]], ratings[order[k]]
        columns[2, k], columns[3, k] = affinities[best[k]], wides[best[k]]
    return best, columns
