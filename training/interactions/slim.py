"""SLIM (Ning & Karypis 2011, "SLIM: sparse linear methods for top-n recommender systems").

The elastic net of each anime on all others, no weight below 0. It is solved by coordinate descent
on the Gram matrix, as in "covariance updates" of Friedman, Hastie & Tibshirani (2010, section 2.2),
over the few anime that have a weight; those outside that would gain most are let in until none
would. So a fit takes what the weights take, however many the ratings are.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.compiled import compiled

TOLERANCE = 1e-3  # a weight that would come in below it stays 0
ENTERING = 32  # anime that are let in at once
MOST = 1_024  # of them in a column
SWEEPS = 50  # over those that are in, before others are looked at
COLUMNS_AT_ONCE = 64

# Sums may be taken in another order, which is what makes loops of them fast.
_fast = compiled(fastmath={"reassoc", "contract"})


class _Problem(NamedTuple):
    """`gram`: float32[M, M]; `diagonal`: float32[M], its own; the rest float32."""

    gram: np.ndarray
    diagonal: np.ndarray
    l1: np.float32
    l2: np.float32
    tolerance: np.float32


def slim(
    gram: np.ndarray,
    l1: float,
    l2: float,
    tolerance: float = TOLERANCE,
    fitted: Callable[[int], Any] = lambda _: None,
) -> sp.csc_array:
    """Weights of each anime, a column, on all others: float32[M, M], its own 0.

    Of each column b of `gram`, float32[M, M], the w >= 0 with the least wᵀ(G + l2 I)w / 2 - bᵀw +
    l1 Σw, its own left out. `fitted` is told of so many columns more. In PyTorch's threads.
    """
    penalties = np.float32(l1), np.float32(l2), np.float32(tolerance)
    problem = _Problem(gram, gram.diagonal().copy(), *penalties)

    def some(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _columns(problem, start, min(start + COLUMNS_AT_ONCE, len(gram)))

    found = []
    threads = ThreadPoolExecutor(torch.get_num_threads())
    try:
        for part in threads.map(some, range(0, len(gram), COLUMNS_AT_ONCE)):
            found.append(part)
            fitted(len(part[0]))
    finally:
        threads.shutdown(cancel_futures=True)
    counts, rows, kept = (np.concatenate(parts) for parts in zip(*found, strict=True))
    ends = np.append(0, np.cumsum(counts))
    weights = sp.csc_array((kept, rows, ends), shape=gram.shape)
    weights.sort_indices()
    return weights


@_fast
def _columns(problem: _Problem, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many weights each of the columns has, and of one after the other the rows and weights."""
    most = min(MOST, len(problem.gram))
    among = np.empty((most, most), np.float32)
    inside, weights = np.empty(most, np.int64), np.empty(most, np.float32)
    counts = np.zeros(end - start, np.int64)
    rows = np.empty((end - start) * most, np.int64)
    kept = np.empty((end - start) * most, np.float32)
    found = 0
    for column in range(start, end):
        for x in range(_column(problem, column, among, inside, weights)):
            if weights[x] > 0:
                rows[found], kept[found] = inside[x], weights[x]
                found += 1
                counts[column - start] += 1
    return counts, rows[:found].copy(), kept[:found].copy()


@_fast
def _column(
    problem: _Problem, column: int, among: np.ndarray, inside: np.ndarray, weights: np.ndarray
) -> int:
    """How many were let in: their rows are put into `inside`, and their weights into `weights`.

    `among`: float32[MOST, MOST], to work in.
    """
    gram = problem.gram
    left = gram[column].copy()  # of the column, by the weights so far
    outside = np.ones(len(gram), np.bool_)
    outside[column] = False
    size = 0
    while True:
        larger = _let_in(problem, left, outside, inside, size)
        if larger == size:
            return size
        for x in range(size, larger):
            weights[x] = 0
            for y in range(x + 1):
                among[x, y] = among[y, x] = gram[inside[x], inside[y]]
        size = larger
        before = weights[:size].copy()
        _descend(problem, among, left[inside[:size]], weights[:size])
        for x in range(size):
            change, row = weights[x] - before[x], gram[inside[x]]
            if change != 0:
                for k in range(len(left)):
                    left[k] -= change * row[k]


@_fast
def _let_in(
    problem: _Problem, left: np.ndarray, outside: np.ndarray, inside: np.ndarray, size: int
) -> int:
    """How many are inside, with those added to the `size` of before that gain most."""
    last = min(size + ENTERING, len(inside))
    if last == size:
        return size
    gains = np.empty(last - size, np.float32)
    end = size
    for k in range(len(left)):
        scale = problem.diagonal[k] + problem.l2
        weight = (left[k] - problem.l1) / scale
        if outside[k] and weight > problem.tolerance:
            gain = weight * weight * scale
            if end < last:
                place = end
                end += 1
            else:
                place = size + int(np.argmin(gains))
                if gain <= gains[place - size]:
                    continue
            inside[place], gains[place - size] = k, gain
    for x in range(size, end):
        outside[inside[x]] = False
    return end


@_fast
def _descend(problem: _Problem, among: np.ndarray, left: np.ndarray, weights: np.ndarray) -> None:
    """Better the weights, float32[n], in place and by turns, until none changes much."""
    l1, l2 = problem.l1, problem.l2
    for _ in range(SWEEPS):
        largest = np.float32(0)
        for x in range(len(weights)):
            wanted = weights[x] + (left[x] - l1 - l2 * weights[x]) / (among[x, x] + l2)
            change = max(wanted, np.float32(0)) - weights[x]
            if change != 0:
                weights[x] += change
                for y in range(len(left)):
                    left[y] -= change * among[x, y]
                largest = max(largest, abs(change))
        if largest < problem.tolerance / 10:
            return
