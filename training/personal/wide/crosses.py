"""The wide part: crosses of an anime in the history with the candidate, in closed form.

EASE with side information: X has rows for users and for what anime are alike in
(`side_information`). Of each row the largest weights by magnitude are kept, signed.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.ease import gram, solve
from training.loop.ranks import ALONE, Ranks
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
        side: SideInformation,
        ridge: float,
        kept: int,
        exponent: float,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> "Crosses":
        """Fit on `watched`, [U, A] ones; a user of n ratings weighs n^-`exponent`.

        A dense matrix over the anime that were watched is inverted: 16,500 of them take three
        times 1.1 GB. The first rank does so for all.
        """
        rows, together = gram(watched, exponent, ranks)

        def largest() -> Crosses:
            together.add_(side.gram(rows))
            weights = solve(together.to(device), ridge)
            found = min(kept, len(rows))
            columns = weights.abs().topk(found, dim=1).indices
            candidate = np.zeros((watched.shape[1], kept), dtype=np.int32)
            weight = np.zeros((watched.shape[1], kept), dtype=np.float32)
            candidate[rows, :found] = rows[columns.cpu().numpy()]
            weight[rows, :found] = weights.gather(1, columns).cpu().numpy()
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
