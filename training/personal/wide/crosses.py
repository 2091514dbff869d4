"""The wide part: crosses of an anime in the history with the candidate, in closed form.

EASE with side information: X has rows for users and for what anime are alike in
(`side_information`). Of each row the largest weights by magnitude are kept, signed, and those of
each column fitted again, since they have to do without the others.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from scipy.linalg import solve as solve_dense
from scipy.sparse.linalg import LinearOperator, cg

from training.interactions.ease import gram, solve
from training.loop.ranks import ALONE, Ranks
from training.personal.wide.side_information import SideInformation

# How far the kept weights go towards what fits best without the others. All the way, an anime of
# few weights is worth too little beside one of many; on validation this was best of quarters.
REFITTED = 0.5
LARGEST_SOLVED = 512  # weights of a column that are solved for; of more, the solution is approached
STEPS = 30


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
        side: SideInformation,
        ridge: float,
        kept: int,
        exponent: float,
        dropout: float,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> "Crosses":
        """Fit on `watched`, [U, A] ones; a user of n ratings weighs n^-`exponent`.

        `dropout`: as if each of a history were hidden so often, in closed form (Steck 2020,
        "Autoencoders that don't overfit towards the identity").
        A dense matrix over the anime that were watched is inverted: 16,500 of them take four times
        1.1 GB. The first rank does so for all.
        """
        rows, together = gram(watched, exponent, ranks)

        def largest() -> Crosses:
            together.add_(side.gram(rows))
            together.diagonal().div_(1 - dropout)
            weights = solve(together.clone().to(device), ridge)
            found = min(kept, len(rows))
            columns = weights.abs().topk(found, dim=1).indices
            largest_weights = weights.gather(1, columns).cpu().numpy()
            del weights
            together.diagonal().add_(ridge)
            places = columns.cpu().numpy()
            candidate = np.zeros((watched.shape[1], kept), dtype=np.int32)
            weight = np.zeros((watched.shape[1], kept), dtype=np.float32)
            candidate[rows, :found] = rows[places]
            weight[rows, :found] = _refitted(places, largest_weights, together.numpy())
            return cls(candidate, weight)

        return ranks.from_first(largest)

    def matrix(self) -> sp.csr_array:
        """As a sparse matrix, float32[A, A]: row = watched, column = candidate."""
        anime, kept = self.weight.shape
        ends = np.arange(0, anime * kept + 1, kept)
        # Copied: zeros are taken out in place.
        parts = (self.weight.flatten(), self.candidate.flatten(), ends)
        matrix = sp.csr_array(parts, shape=(anime, anime))
        matrix.eliminate_zeros()
        return matrix


def _refitted(columns: np.ndarray, weights: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """float32[M, K], weights fitted again on their places alone.

    `columns`: int64[M, K], `weights`: float32[M, K], of each row; `gram`: float32[M, M], the ridge
    on its diagonal.
    """
    kept = columns.shape[1]
    order = np.argsort(columns, axis=None, kind="stable")
    ends = np.append(0, np.cumsum(np.bincount(columns.ravel(), minlength=len(columns))))
    flat = weights.ravel()
    refitted = flat.copy()
    for column in range(len(columns)):
        places = order[ends[column] : ends[column + 1]]
        places = places[flat[places] != 0]  # its own is
        if len(places):
            rows = places // kept
            found = _solution(_among(rows, gram), gram[column].take(rows), flat[places])
            refitted[places] += REFITTED * (found - flat[places])
    return refitted.reshape(weights.shape)


def _among(rows: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """`gram` at every two of the rows, int64[n]: float32[n, n].

    Row by row: a matrix of a gigabyte is read in order, in 0.6 of the time.
    """
    among = np.empty((len(rows), len(rows)), dtype=np.float32)
    for place, row in enumerate(rows):
        gram[row].take(rows, out=among[place], mode="clip")  # unlike "raise", into `out` itself
    return among


def _solution(gram: np.ndarray, wanted: np.ndarray, start: np.ndarray) -> np.ndarray:
    """float32[n], what `gram`, [n, n], takes to `wanted`, [n]."""
    if len(wanted) <= LARGEST_SOLVED:
        return np.asarray(solve_dense(gram, wanted, assume_a="pos"))
    scale = 1 / gram.diagonal()
    preconditioner = LinearOperator(gram.shape, matvec=lambda vector: scale * vector)
    return np.asarray(cg(gram, wanted, start, rtol=1e-4, maxiter=STEPS, M=preconditioner)[0])
