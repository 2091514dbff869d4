import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.comparison.ranking_metrics import (
    Relevant,
    coverage,
    interval,
    ndcg,
    overlap,
    recall,
    top,
)


def plain_ndcg(ranked: list[int], relevant: set[int]) -> float:
    gain = sum(1 / math.log2(rank + 1) for rank, a in enumerate(ranked, 1) if a in relevant)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(relevant), len(ranked)) + 1))
    return gain / best


@given(
    arrays(np.float32, (3, 17), elements=st.integers(-4, 4).map(float)),
    arrays(np.bool_, (3, 17)),
    st.integers(1, 17),
)
def test_vectorised_measures_are_those_of_a_plain_loop(
    scores: np.ndarray, held: np.ndarray, length: int
) -> None:
    held[:, 0] = True
    user, anime = np.nonzero(held)
    relevant = Relevant.of(user, anime, held.shape)
    users = np.arange(3)
    lists = top(scores, length)
    hits, counts = relevant.among(lists, users), relevant.counts(users)
    for row in users:
        wanted = sorted(range(17), key=lambda a: (-scores[row, a], a))[:length]
        assert lists[row].tolist() == wanted
        found = set(np.flatnonzero(held[row]).tolist())
        assert ndcg(hits, counts)[row] == pytest.approx(plain_ndcg(lists[row].tolist(), found))
        share = len(found & set(lists[row].tolist())) / len(found)
        assert recall(hits, counts)[row] == pytest.approx(share)


@given(st.integers(2, 5), st.integers(1, 4))
def test_lists_that_are_the_same_overlap_whole_and_others_not_at_all(
    users: int, length: int
) -> None:
    same = np.tile(np.arange(length), (users, 1))
    apart = np.arange(users * length).reshape(users, length)
    assert overlap(same) == pytest.approx(1)
    assert overlap(apart) == 0
    assert overlap(same[:1]) is None
    assert coverage(same, 40) == pytest.approx(length / 40)
    assert coverage(apart, 40) == pytest.approx(users * length / 40)


def test_the_interval_holds_the_mean_and_narrows_with_more_users() -> None:
    values, ones = np.random.default_rng(0).random(2_000), np.ones(2_000)
    low, high = interval(values, ones, np.random.default_rng(1))
    few_low, few_high = interval(values[:50], ones[:50], np.random.default_rng(1))
    assert low < values.mean() < high
    assert high - low < few_high - few_low


def test_a_user_of_more_ratings_weighs_more_in_the_interval() -> None:
    sums, counts = np.array([0.0, 90.0] * 500), np.array([10.0, 90.0] * 500)
    low, high = interval(sums, counts, np.random.default_rng(1))
    assert low < 0.9 < high
