"""Which anime are alike by what is said of them, whoever has watched them.

A rating leans on those of similar anime in the history: sequels and other seasons above all, which
is why the cosine is raised to a power before it weighs anything.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.product import product
from training.personal.wide.side_information import SideInformation

POWER = 6  # of the cosine
TITLES = 2.0  # what titles weigh in it, in what content weighs
ANIME_AT_ONCE = 2_048


@dataclass(frozen=True)
class Alike:
    """Of each anime those that are most like it among what was watched, itself left out.

    `watched`: int32[A, K], rows of the catalogue; `weight`: float32[A, K], from 0 to 1, 0 where
    unused.
    """

    watched: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, side: SideInformation, trained: np.ndarray, kept: int) -> "Alike":
        """Of the catalogue; `trained`: bool[A], what was watched."""
        rows, units = np.flatnonzero(trained), side.unit(TITLES)
        found = min(kept, len(rows))
        watched = np.zeros((len(trained), kept), dtype=np.int32)
        weight = np.zeros((len(trained), kept), dtype=np.float32)
        others = units[rows].T.tocsr()
        for start in range(0, len(trained), ANIME_AT_ONCE):
            part = slice(start, start + ANIME_AT_ONCE)
            cosine = torch.from_numpy(product(units[part], others))
            own = np.flatnonzero(trained[part])
            cosine[own, np.searchsorted(rows, start + own)] = 0
            nearest = cosine.clamp_(0, 1).topk(found, dim=1)
            watched[part, :found] = rows[nearest.indices.numpy()]
            weight[part, :found] = (nearest.values**POWER).numpy()
        return cls(watched, weight)

    def matrix(self) -> sp.csr_array:
        """As a sparse matrix, float32[A, A]: row = watched, column = candidate."""
        anime, kept = self.weight.shape
        candidate = np.repeat(np.arange(anime), kept)
        places = (self.watched.ravel(), candidate)
        matrix = sp.coo_array((self.weight.ravel(), places), shape=(anime, anime)).tocsr()
        matrix.eliminate_zeros()
        return matrix
