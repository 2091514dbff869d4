from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from training.interactions.slim import slim
from training.personal import settings
from training.personal.settings import PERSONAL
from training.personal.wide.crosses import Crosses
from training.personal.wide.side_information import SideInformation


@pytest.fixture
def watched() -> sp.csr_array:
    """Of 9 anime, the fifth of which nobody watched."""
    rng = np.random.default_rng(0)
    taste = rng.random((60, 1)) < 0.5
    often = np.where(taste, np.linspace(0.1, 0.8, 9), np.linspace(0.8, 0.1, 9))
    return sp.csr_array((rng.random((60, 9)) < often).astype(np.float32) * (np.arange(9) != 4))


@pytest.fixture
def unlike() -> SideInformation:
    """Anime that have nothing in common."""
    content, titles = (sp.csr_array(np.zeros((9, size), np.float32)) for size in (1, 0))
    return SideInformation(content, titles)


def fitted(watched: sp.csr_array, side: SideInformation, **given: Any) -> np.ndarray:
    small = {"cross_l1": 1.0, "cross_l2": 3.0, "cross_weights": 9, "user_exponent": 0.0}
    chosen = PERSONAL.model_copy(update={**small, **given})
    return Crosses.fit(watched, side, chosen).matrix().toarray()


def test_they_are_slim_of_what_was_watched(watched: sp.csr_array, unlike: SideInformation) -> None:
    found = fitted(watched, unlike)
    there = np.flatnonzero(np.arange(9) != 4)
    dense = watched.toarray()[:, there]
    expected = slim(dense.T @ dense, 1.0, 3.0).toarray()
    np.testing.assert_array_equal(found[np.ix_(there, there)], expected)
    assert not found[4].any()
    assert not found[:, 4].any()


def test_a_user_who_watched_much_weighs_less(
    watched: sp.csr_array, unlike: SideInformation
) -> None:
    lengths = np.maximum(np.diff(watched.indptr), 1)
    share = lengths**-0.5 * lengths.sum() / (lengths**0.5).sum()
    dense = watched.toarray()[:, np.arange(9) != 4]
    expected = slim((dense.T * share.astype(np.float32)) @ dense, 1.0, 3.0).toarray()
    found = fitted(watched, unlike, user_exponent=0.5)
    np.testing.assert_allclose(found[:4, :4], expected[:4, :4], atol=1e-4)


def test_the_largest_weights_of_each_row_are_kept(
    watched: sp.csr_array, unlike: SideInformation
) -> None:
    whole = fitted(watched, unlike)
    cut = fitted(watched, unlike, cross_weights=2)
    assert (whole > 0).sum(axis=1).max() > 2
    for row, full in zip(cut, whole, strict=True):
        kept = np.argsort(-full, kind="stable")[:2]
        expected = np.zeros(9)
        expected[kept] = full[kept]
        np.testing.assert_array_equal(row, expected)


def test_penalties_grow_with_the_root_of_the_users(
    watched: sp.csr_array, unlike: SideInformation, monkeypatch: pytest.MonkeyPatch
) -> None:
    raters = np.count_nonzero(np.diff(watched.indptr))
    monkeypatch.setattr(settings, "RATERS", raters / 4)
    found = fitted(watched, unlike)
    monkeypatch.setattr(settings, "RATERS", raters)
    np.testing.assert_array_equal(found, fitted(watched, unlike, cross_l1=2.0, cross_l2=6.0))
    assert not np.array_equal(found, fitted(watched, unlike))


def test_a_shared_value_weighs_as_much_as_users_who_watched_both(
    watched: sp.csr_array, unlike: SideInformation
) -> None:
    content = np.zeros((9, 1), np.float32)
    content[[0, 8]] = 1
    words = sp.csr_array(np.eye(9, dtype=np.float32)[:, :2])
    side = SideInformation(sp.csr_array(content), words)
    found = fitted(watched, side, content_weight=30.0, title_weight=2.0)
    more = np.vstack([watched.toarray(), *[content.T] * 30, *[words.toarray().T] * 2])
    wanted = fitted(sp.csr_array(more), unlike)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert found[0, 8] > 0
    assert fitted(watched, unlike)[0, 8] == 0
