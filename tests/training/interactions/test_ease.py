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
