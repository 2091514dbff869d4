import numpy as np
import pytest
import scipy.sparse as sp
import torch

from training.personal.wide import crosses
from training.personal.wide.crosses import REFITTED, Crosses
from training.personal.wide.side_information import SideInformation

CPU = torch.device("cpu")


@pytest.fixture
def watched() -> sp.csr_array:
    rng = np.random.default_rng(0)
    return sp.csr_array((rng.random((60, 9)) < 0.3).astype(np.float32) * (np.arange(9) != 4))


@pytest.fixture
def unlike() -> SideInformation:
    """Anime that have nothing in common."""
    return SideInformation(
        np.zeros((9, 1), np.float32), sp.csr_array(np.zeros((9, 0), dtype=np.float32))
    )


def test_each_column_is_the_ridge_regression_on_all_others(
    watched: sp.csr_array, unlike: SideInformation
) -> None:
    ridge = 3.0
    fitted = Crosses.fit(watched, unlike, ridge, kept=9, exponent=0, dropout=0, device=CPU)
    found = fitted.matrix().toarray()
    dense = watched.toarray().astype(np.float64)
    for column in range(9):
        others = [c for c in range(9) if c not in (column, 4)]
        part = dense[:, others]
        weights = np.linalg.solve(
            part.T @ part + ridge * np.eye(len(others)), part.T @ dense[:, column]
        )
        np.testing.assert_allclose(found[others, column], weights, atol=1e-5)
    assert not found.diagonal().any()
    again = fitted.matrix().toarray()
    np.testing.assert_array_equal(again, found)
    assert not found[4].any()
    assert not found[:, 4].any()


@pytest.mark.parametrize("solved", [512, 0])
def test_the_largest_weights_of_each_row_are_kept_and_fitted_again(
    watched: sp.csr_array, unlike: SideInformation, solved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crosses, "LARGEST_SOLVED", solved)
    whole = (
        Crosses.fit(watched, unlike, 3.0, kept=9, exponent=0, dropout=0, device=CPU)
        .matrix()
        .toarray()
    )
    cut = (
        Crosses.fit(watched, unlike, 3.0, kept=3, exponent=0, dropout=0, device=CPU)
        .matrix()
        .toarray()
    )
    for row, full in zip(cut, whole, strict=True):
        kept = np.argsort(-np.abs(full), kind="stable")[:3]
        assert set(np.flatnonzero(row)) == set(kept[full[kept] != 0])
    gram = (watched.T @ watched).toarray().astype(np.float64) + 3 * np.eye(9)
    for column in range(9):
        places = np.flatnonzero(cut[:, column])
        alone = np.linalg.solve(gram[np.ix_(places, places)], gram[places, column])
        expected = whole[places, column] + REFITTED * (alone - whole[places, column])
        np.testing.assert_allclose(cut[places, column], expected, rtol=1e-3)


def test_a_shared_value_weighs_as_much_as_users_who_watched_both(watched: sp.csr_array) -> None:
    content = np.zeros((9, 1), np.float32)
    content[[0, 5]] = 1
    words = sp.csr_array(np.eye(9, dtype=np.float32)[:, :2])
    alike = SideInformation(content * np.float32(3**0.5), words)
    found = Crosses.fit(watched, alike, 3.0, kept=9, exponent=0, dropout=0, device=CPU)
    more = np.vstack([watched.toarray(), *[content.T] * 3, words.toarray().T])
    none = SideInformation(0 * content, words[:, :0])
    wanted = Crosses.fit(sp.csr_array(more), none, 3.0, kept=9, exponent=0, dropout=0, device=CPU)
    np.testing.assert_allclose(
        found.matrix().toarray(), wanted.matrix().toarray(), rtol=1e-4, atol=1e-6
    )
    assert found.matrix()[0, 5] > 0
