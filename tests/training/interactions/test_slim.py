import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from training.interactions import slim as module
from training.interactions.slim import slim


@pytest.fixture
def watched() -> np.ndarray:
    """float64[200, 30], ones; of two tastes."""
    rng = np.random.default_rng(0)
    taste = rng.random((200, 1)) < 0.5
    often = np.where(taste, np.linspace(0.05, 0.6, 30), np.linspace(0.6, 0.05, 30))
    return (rng.random((200, 30)) < often).astype(np.float64)


def gram(watched: np.ndarray) -> np.ndarray:
    return (watched.T @ watched).astype(np.float32)


@pytest.mark.parametrize("columns", [64, 7])
def test_each_column_is_the_elastic_net_of_another_library(
    watched: np.ndarray, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COLUMNS_AT_ONCE", columns)
    l1, l2, users = 4.0, 20.0, len(watched)
    found = slim(gram(watched), l1, l2, tolerance=1e-6).toarray()
    for column in range(found.shape[1]):
        others = np.arange(found.shape[1]) != column
        net = ElasticNet(
            alpha=(l1 + l2) / users,
            l1_ratio=l1 / (l1 + l2),
            positive=True,
            fit_intercept=False,
            tol=1e-8,
            max_iter=10_000,
        ).fit(watched[:, others], watched[:, column])
        np.testing.assert_allclose(found[others, column], net.coef_, atol=1e-4)
    assert not found.diagonal().any()
    assert 0 < np.count_nonzero(found) < 0.6 * found.size


def test_more_may_come_in_than_at_once() -> None:
    rng = np.random.default_rng(0)
    basket = rng.random((400, 120)) < 0.02
    basket[:, 0] |= basket[:, 1:].any(axis=1)  # each of the others says something of the first
    watched = basket.astype(np.float64)
    found = slim(gram(watched), 0.1, 1.0).toarray()
    assert np.count_nonzero(found[:, 0]) > 2 * module.ENTERING
    left = gram(watched) - gram(watched) @ found - found  # of each column, with l2 = 1
    outside = (found == 0) & ~np.eye(120, dtype=bool)
    scale = gram(watched).diagonal()[:, None] + 1
    assert ((left - 0.1) / scale)[outside].max() <= 1.1 * module.TOLERANCE
    assert np.abs((left - 0.1) / scale)[found > 0].max() < module.TOLERANCE


def test_what_nobody_watched_with_anything_has_no_weight() -> None:
    alone = np.eye(5, dtype=np.float32) * 10
    assert slim(alone, 1.0, 1.0).nnz == 0


def test_it_says_how_far_it_is_and_ends_when_it_is_interrupted(watched: np.ndarray) -> None:
    told: list[int] = []
    slim(gram(watched), 4.0, 20.0, fitted=told.append)
    assert sum(told) == 30

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slim(gram(watched), 4.0, 20.0, fitted=interrupt)
