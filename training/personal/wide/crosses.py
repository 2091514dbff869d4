"""The wide part: crosses of an anime in the history with the candidate, in closed form.

EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"): the ridge regression of
each anime on all others, B = I - P diag(1/P), P = (XᵀX + λI)⁻¹, whose diagonal is zero, so that
an anime never predicts itself. X has rows for users and, as side information, for what anime are
alike in (`side_information`). Of each row the largest weights by magnitude are kept, signed.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from training.personal.wide.side_information import SideInformation


@dataclass(frozen=True)
class Crosses:
    """What one watched anime says of others.

    `candidate`: int32[A, K], rows of the catalogue; `weight`: float32[A, K], 0 where unused.
    """

    candidate: np.ndarray
    weight: np.ndarray

    @classmethod
    def fit(
        cls,
        watched: sp.csr_array,
        likeness: SideInformation,
        ridge: float,
        kept: int,
        exponent: float,
        device: torch.device,
    ) -> "Crosses":
        """Fit on `watched`, [U, A] ones; a user of n ratings weighs n^-`exponent`.

        A dense matrix over the anime that were watched is inverted: 16,500 of them take three
        times 1.1 GB.
        """
        anime = watched.shape[1]
        rows, weights = ease(watched, ridge, exponent, device, likeness)
        found = min(kept, len(rows))
        columns = weights.abs().topk(found, dim=1).indices
        candidate = np.zeros((anime, kept), dtype=np.int32)
        weight = np.zeros((anime, kept), dtype=np.float32)
        candidate[rows, :found] = rows[columns.cpu().numpy()]
        weight[rows, :found] = weights.gather(1, columns).cpu().numpy()
        return cls(candidate, weight)

    def matrix(self) -> sp.csr_array:
        """As a sparse matrix, float32[A, A]: row = watched, column = candidate."""
        anime, kept = self.weight.shape
        ends = np.arange(0, anime * kept + 1, kept)
        # Copied: zeros are taken out in place.
        parts = (self.weight.flatten(), self.candidate.flatten(), ends)
        matrix = sp.csr_array(parts, shape=(anime, anime))
        matrix.eliminate_zeros()
        return matrix


def ease(
    watched: sp.csr_array,
    ridge: float,
    exponent: float,
    device: torch.device,
    likeness: SideInformation | None = None,
) -> tuple[np.ndarray, Tensor]:
    """The whole model: rows of the M anime that were watched, and their weights, float32[M, M]."""
    rows = np.flatnonzero(np.bincount(watched.indices, minlength=watched.shape[1]))
    gram = _gram(watched[:, rows], exponent)
    if likeness is not None:
        gram += likeness.gram(rows)
    return rows, _solve(gram.to(device), ridge)


def _gram(watched: sp.csr_array, exponent: float) -> Tensor:
    counts = np.maximum(np.diff(watched.indptr), 1).astype(np.float32)
    share = counts**-exponent
    # As a whole, the weights leave the number of ratings, which the ridge is measured by, as is.
    share *= counts.sum() / (share * counts).sum()
    weighted = sp.diags_array(share) @ watched
    return torch.from_numpy((watched.T @ weighted).toarray().astype(np.float32, copy=False))


def _solve(gram: Tensor, ridge: float) -> Tensor:
    gram.diagonal().add_(ridge)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse.div_(-inverse.diagonal().clone())
    return weights.fill_diagonal_(0)
