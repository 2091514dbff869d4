"""Maximal marginal relevance, beside its formula one anime at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.diversity import Likeness, diversified
from bundles.facets import Facets

GENRES = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], np.bool_)
VECTORS = np.array([[1, 0], [0, 2], [3, 0], [0, 0], [1, 1], [1, 1]], np.float64)


def by_formula(scores: np.ndarray, likeness: np.ndarray, count: int, share: float) -> list[int]:
    relevance = np.zeros(len(scores))
    if scores[0] > scores[-1]:
        relevance = (scores - scores[-1]) / (scores[0] - scores[-1])
    chosen: list[int] = []
    for _ in range(count):
        worth = {
            place: (1 - share) * relevance[place]
            - share * (max(likeness[place, chosen]) if chosen else 0)
            for place in range(len(scores))
            if place not in chosen
        }
        chosen.append(max(worth, key=lambda place: (worth[place], -place)))
    return chosen


def test_likeness_is_the_mean_of_the_cosines_of_genres_and_vectors():
    units = Likeness(GENRES, VECTORS).units(np.arange(6))
    likeness = units @ units.T
    assert likeness[0, 0] == pytest.approx(1)
    assert likeness[0, 1] == pytest.approx(0.5)  # the same genre, at right angles
    assert likeness[0, 2] == pytest.approx((np.sqrt(0.5) + 1) / 2)
    assert likeness[0, 3] == 0
    assert likeness[4, 5] == pytest.approx(1)  # both of no genre that is known
    alone = Likeness(GENRES).units(np.arange(6))
    assert (alone @ alone.T)[0, 1] == pytest.approx(1)


def test_genres_are_those_of_the_facets():
    names = np.array(["Action", "Drama", "Sci-Fi"])
    facets = Facets.of({"genres": [names[of].tolist() for of in GENRES]}, None, None)
    rows = np.arange(6)
    found, right = Likeness.of(facets, 6).units(rows), Likeness(GENRES).units(rows)
    np.testing.assert_array_equal(found, right)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=6, max_size=6), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    st.integers(1, 6),
)
def test_each_choice_is_the_one_that_is_worth_most_beside_those_before(rows, share, count):
    scores = -np.sort(-np.array(rows, np.float32), axis=1)
    units = Likeness(GENRES, VECTORS).units(np.tile(np.arange(6), (len(rows), 1)))
    found = diversified(scores, units, count, share)
    for of, each, choice in zip(scores.astype(np.float64), units, found, strict=True):
        likeness = (each[:, np.newaxis] * each).sum(2)
        assert choice.tolist() == by_formula(of, likeness, count, share)


def test_without_diversity_the_best_stay():
    units = Likeness(GENRES).units(np.arange(6))[np.newaxis]
    assert diversified(np.full((1, 6), 3.0), units, 4, 0.0).tolist() == [[0, 1, 2, 3]]
