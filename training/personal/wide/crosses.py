"""The wide part: crosses of an anime in the history with the candidate.

SLIM with side information: X has rows for users and for what anime are alike in
(`side_information`). Few weights of a column are not 0; of each row the largest are kept.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.ease import gram
from training.interactions.slim import slim
from training.loop.progress import SILENT, Stages
from training.loop.ranks import ALONE, Ranks
from training.personal.settings import PersonalSettings, beyond
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
        settings: PersonalSettings,
        stages: Stages = SILENT,
        ranks: Ranks = ALONE,
    ) -> "Crosses":
        """Fit on `watched`, [U, A] ones.

        Takes twice a dense matrix over the anime that were watched: 2.2 GB for 16,500 of them. The
        first rank fits for all.
        """
        rows, together = gram(watched, settings.user_exponent, ranks)

        def fitted() -> Crosses:
            likeness = side.gram(rows, settings.content_weight, settings.title_weight)
            together.add_(torch.from_numpy(likeness))
            stages.begin("fitting the crosses", len(rows))
            grown = beyond(int(np.count_nonzero(np.diff(watched.indptr))))
            penalties = settings.cross_l1 * grown, settings.cross_l2 * grown
            weights = slim(together.numpy(), *penalties, fitted=stages.step)
            return cls.largest(weights, rows, watched.shape[1], settings.cross_weights)

        return ranks.from_first(fitted)

    @classmethod
    def largest(cls, weights: sp.csc_array, rows: np.ndarray, anime: int, kept: int) -> "Crosses":
        """The so many largest weights of each row of [M, M], whose rows are `rows` of `anime`."""
        found = weights.tocoo()
        order = np.lexsort((-found.data, found.row))
        row, column, weight = found.row[order], found.col[order], found.data[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        largest = place < kept
        places = rows[row[largest]], place[largest]
        crosses = cls(
            np.zeros((anime, kept), dtype=np.int32), np.zeros((anime, kept), dtype=np.float32)
        )
        crosses.candidate[places] = rows[column[largest]]
        crosses.weight[places] = weight[largest]
        return crosses

    def matrix(self) -> sp.csr_array:
        """As a sparse matrix, float32[A, A]: row = watched, column = candidate."""
        anime, kept = self.weight.shape
        ends = np.arange(0, anime * kept + 1, kept)
        # Copied: zeros are taken out in place.
        parts = (self.weight.flatten(), self.candidate.flatten(), ends)
        matrix = sp.csr_array(parts, shape=(anime, anime))
        matrix.eliminate_zeros()
        return matrix
