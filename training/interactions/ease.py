"""EASE (Steck 2019) where there are fewer users than anime, without a matrix over pairs of anime.

The ridge regression's P = (XᵀX + λI)⁻¹ is (I - ZᵀZ) / λ, with Z = L⁻¹X and LLᵀ = XXᵀ + λI
(Woodbury identity). A history x scores x (I - P diag(1/P)), which takes P's diagonal and xP alone:
a fifth of the work of `crosses.ease` for 3,000 users and 11,000 anime, and the same scores.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp


class UserSideEase:
    """Fitted on `watched`, [U, A] ones, every column of which has a one."""

    def __init__(self, watched: sp.csr_array, ridge: float) -> None:
        gram = (watched @ watched.T).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += ridge
        lower = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True)
        dense = watched.toarray().astype(np.float32, copy=False)
        self.projection = scipy.linalg.solve_triangular(lower, dense, lower=True, overwrite_b=True)
        # Of P's diagonal, times λ.
        self.remaining = 1 - np.einsum("ua,ua->a", self.projection, self.projection)

    def scores(self, watched: sp.csr_array) -> np.ndarray:
        """Of histories, [B, A] ones; float32[B, A]."""
        seen = watched.toarray().astype(np.float32, copy=False)
        projected = (watched @ self.projection.T) @ self.projection
        return np.asarray(seen - (seen - projected) / self.remaining)
