"""EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"), in closed form.

The ridge regression of each anime on all others, B = I - P diag(1/P), P = (XᵀX + λI)⁻¹, whose
diagonal is zero, so that an anime never predicts itself. X has a row for every user.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from torch import Tensor

from training.interactions.product import product
from training.loop.ranks import ALONE, Ranks


def ease(
    watched: sp.csr_array,
    ridge: float,
    exponent: float,
    device: torch.device,
) -> tuple[np.ndarray, Tensor]:
    """The whole model: rows of the M anime that were watched, and their weights, float32[M, M].

    watched: [U, A] ones. exponent: a user of n ratings weighs n^-exponent.
    """
    rows, together = gram(watched, exponent)
    return rows, solve(together.to(device), ridge)


def gram(watched: sp.csr_array, exponent: float, ranks: Ranks = ALONE) -> tuple[np.ndarray, Tensor]:
    """Rows of the M anime that were watched, and the Gram matrix over them, float32[M, M].

    Each rank sums over its users.
    """
    rows = np.flatnonzero(np.bincount(watched.indices, minlength=watched.shape[1]))
    counts = np.maximum(np.diff(watched.indptr), 1).astype(np.float32)
    share = counts**-exponent
    # As a whole, the weights leave the number of ratings, which the ridge is measured by, as is.
    share *= counts.sum() / (share * counts).sum()
    if ranks.count > 1:  # every so many, since old users come first, and have rated more
        watched, share = watched[ranks.rank :: ranks.count], share[ranks.rank :: ranks.count]
    watched = watched[:, rows]
    weighted = sp.csr_array(sp.diags_array(share) @ watched)
    # Nearly every pair has a user: as a sparse matrix all of it would take twice the dense one.
    return rows, ranks.sum(torch.from_numpy(product(watched.T.tocsr(), weighted)))


def solve(gram: Tensor, ridge: float) -> Tensor:
    """The weights, float32[M, M], of a Gram matrix, in its place.

    For 16,500 anime, each copy is 1.1 GB.
    """
    gram.diagonal().add_(ridge)
    by_column = gram.mT  # symmetric, and laid out as LAPACK works in place
    torch.linalg.cholesky(by_column, out=by_column)
    torch.cholesky_inverse(by_column, out=by_column)
    return gram.div_(-gram.diagonal().clone()).fill_diagonal_(0)


class UserSideEase:
    """The same where there are fewer users than anime, without a matrix over pairs of anime.

    P is (I - ZᵀZ) / λ, with Z = L⁻¹X and LLᵀ = XXᵀ + λI (Woodbury identity). A history x scores
    x (I - P diag(1/P)), which takes P's diagonal and xP alone: a fifth of the work of `ease` for
    3,000 users and 11,000 anime, and the same scores.

    Fitted on `watched`, [U, A] ones, every column of which has a one.
    """

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
