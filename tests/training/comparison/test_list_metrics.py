import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.comparison.list_metrics import (
    diversity,
    genre_rows,
    genre_shares,
    miscalibration,
    self_information,
)


def test_an_anime_that_half_of_all_watch_tells_one_bit() -> None:
    found = self_information(np.array([8, 4, 1, 0]), 8)
    assert found.tolist() == [0, 1, 3, 3]


def test_the_genres_of_an_anime_share_it_alike() -> None:
    rows = genre_rows([["Action", "Drama"], [], ["Drama"], ["Action", "Drama", "Sci-Fi"]])
    np.testing.assert_allclose(rows, np.array([[3, 3, 0], [0, 0, 0], [0, 6, 0], [2, 2, 2]]) / 6)


def test_a_list_of_one_kind_is_not_diverse_and_one_of_all_kinds_is() -> None:
    same, apart = np.tile(np.eye(5)[0], (4, 1)), np.eye(5)[:4]
    np.testing.assert_allclose(diversity(np.stack([same, apart])), [0, 1], atol=1e-12)
    known = np.vstack([apart[:1], np.zeros((3, 5))])
    assert np.isnan(diversity(known[np.newaxis])).all()


@given(arrays(np.float64, (3, 6), elements=st.integers(0, 9).map(float)))
def test_a_list_of_the_history_is_calibrated_and_no_other_is_more_so(counts: np.ndarray) -> None:
    p, q = (genre_shares(each[:, np.newaxis]) for each in (counts, counts[::-1]))
    found, own = miscalibration(p, q), miscalibration(p, p)
    some = counts.sum(axis=1) > 0
    np.testing.assert_allclose(own[some], 0, atol=1e-12)
    assert (found[some] >= -1e-12).all()
    assert np.isnan(found[~some]).all()


def test_a_list_of_nothing_that_was_watched_is_as_far_off_as_the_smoothing_lets_it_be() -> None:
    far = miscalibration(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert far[0] == pytest.approx(math.log(100))
