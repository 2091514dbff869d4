import numpy as np
import pytest
import scipy.sparse as sp

from training.comparison import factorisation
from training.comparison.factorisation import Factorisation


@pytest.fixture
def offsets() -> sp.csr_array:
    """Ratings less their mean: biases of both sides, one taste, and no noise."""
    rng = np.random.default_rng(0)
    user, anime = rng.normal(size=80), rng.normal(size=40)
    taste = np.outer(rng.normal(size=80), rng.normal(size=40))
    whole = user[:, None] + anime + taste
    seen = rng.random(whole.shape) < 0.6
    seen[:, 7] = False
    rows, columns = np.nonzero(seen)
    shape = whole.shape
    return sp.csr_array((whole[rows, columns].astype(np.float32), (rows, columns)), shape=shape)


def test_it_finds_biases_and_tastes(offsets: sp.csr_array) -> None:
    model = Factorisation.fit(offsets)
    entries = offsets.tocoo()
    predicted = model.predict(model.users(offsets), entries.row, entries.col)
    assert np.mean((predicted - entries.data) ** 2) < 0.15 * np.mean(entries.data**2)
    scores = model.scores(model.users(offsets))
    np.testing.assert_allclose(scores[entries.row, entries.col], predicted, atol=1e-5)


def test_a_user_is_the_ridge_regression_on_what_was_rated(offsets: sp.csr_array) -> None:
    model = Factorisation.fit(offsets)
    found = model.users(offsets)[3]
    row = offsets[[3]]
    features = model.anime[row.indices].astype(np.float64)
    bias = features[:, -1].copy()
    features[:, -1] = 1
    penalty = np.full(factorisation.FACTORS + 1, factorisation.RIDGE, dtype=np.float64)
    penalty += factorisation.RIDGE_PER_RATING * row.nnz
    penalty[-1] = factorisation.BIAS_RIDGE
    wanted = np.linalg.solve(
        features.T @ features + np.diag(penalty), features.T @ (row.data - bias)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_what_nobody_rated_is_expected_to_be_as_the_mean(offsets: sp.csr_array) -> None:
    model = Factorisation.fit(offsets)
    assert not model.anime[7].any()
    assert not model.users(sp.csr_array(np.zeros((1, 40), dtype=np.float32))).any()


def test_rows_solved_in_parts_are_the_same(
    offsets: sp.csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Factorisation.fit(offsets)
    monkeypatch.setattr(factorisation, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(Factorisation.fit(offsets).anime, whole.anime, atol=1e-4)
