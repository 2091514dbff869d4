import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.ease import UserSideEase, ease


def test_it_scores_as_the_matrix_over_pairs_of_anime_does() -> None:
    rng = np.random.default_rng(0)
    dense = (rng.random((30, 70)) < 0.2).astype(np.float32)
    dense[0] = 1  # every anime was watched by somebody
    fitted, asked = sp.csr_array(dense), sp.csr_array((rng.random((9, 70)) < 0.3) * np.float32(1))
    rows, weights = ease(fitted, 20.0, 0.0, torch.device("cpu"))
    assert len(rows) == 70
    found = UserSideEase(fitted, 20.0).scores(asked)
    np.testing.assert_allclose(found, asked @ weights.numpy(), atol=1e-5)
    assert found.dtype == np.float32


def test_a_user_without_a_history_is_told_nothing() -> None:
    fitted = sp.csr_array(np.ones((3, 5), dtype=np.float32))
    assert (
        not UserSideEase(fitted, 1.0).scores(sp.csr_array(np.zeros((1, 5), dtype=np.float32))).any()
    )


def test_its_weights_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    dense = (rng.random((60, 31)) < 0.3).astype(np.float32)
    inverse = np.linalg.inv(dense.T.astype(np.float64) @ dense + 20 * np.eye(31))
    wanted = -inverse / np.diagonal(inverse)
    np.fill_diagonal(wanted, 0)
    _, weights = ease(sp.csr_array(dense), 20.0, 0.0, torch.device("cpu"))
    np.testing.assert_allclose(weights.numpy(), wanted, atol=1e-5)
    assert weights.is_contiguous()
