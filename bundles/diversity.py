"""Lists whose anime are not all alike: maximal marginal relevance.

Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking for reordering documents
and producing summaries", section 2. Of those not chosen yet the next is the one of the highest

    (1 - diversity) · relevance - diversity · its greatest likeness to one that is chosen

The relevance is the score, brought to 0 for the last of the pool and 1 for the first. The likeness
of two anime is the cosine of their genres, or the mean of that and of the cosine of their vectors
where the model has vectors.
"""

import numpy as np
from numpy.typing import NDArray

from bundles.facets import Facets

# Times the length of a list that it is chosen from: the more, the further from what the user likes,
# and the longer it takes (with 10, a list of ten takes 1.4 times as long as without diversity).
POOL = 5


class Likeness:
    """How alike the anime of one catalogue are."""

    def __init__(
        self, genres: NDArray[np.bool_], vectors: NDArray[np.float64] | None = None
    ) -> None:
        """genres: bool[A, G], which anime is of which; vectors: float64[A, D], None = there are
        none. Anime of no genre that is known are alike."""
        self._genres = np.column_stack([genres, ~genres.any(1)])
        self._vectors = vectors

    @classmethod
    def of(
        cls, facets: Facets, anime: int, vectors: NDArray[np.float64] | None = None
    ) -> "Likeness":
        """Of a bundle of so many anime."""
        values = facets.of_column("genres")
        genres = np.zeros((anime, len(values)), np.bool_)
        for column, value in enumerate(values.values()):
            begin, end = facets.offsets[value : value + 2]
            genres[facets.rows[begin:end], column] = True
        return cls(genres, vectors)

    def units(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """float64[..., F] of int[...] rows: the likeness of two is the product of theirs."""
        genres = _normed(self._genres[rows].astype(np.float64))
        if self._vectors is None:
            return genres
        vectors = _normed(self._vectors[rows])
        both: NDArray[np.float64] = np.concatenate([genres, vectors], -1) * np.sqrt(0.5)
        return both


def diversified(
    scores: NDArray[np.floating], units: NDArray[np.float64], count: int, diversity: float
) -> NDArray[np.intp]:
    """int[B, count], the places of those chosen from each of B pools, in the order of choice.

    scores: float[B, N], highest first; units: float64[B, N, F], as `Likeness.units` has them. Of
    equals the one with the higher score is chosen.
    """
    rows = np.arange(len(scores))
    lowest = scores[:, -1:].astype(np.float64)
    spread = scores[:, :1] - lowest
    relevance = (scores - lowest) / np.where(spread > 0, spread, 1)
    worth, alike = (1 - diversity) * relevance, np.zeros(scores.shape)
    chosen = np.empty((len(scores), count), np.intp)
    for at in range(count):
        chosen[:, at] = best = (worth - diversity * alike).argmax(1)
        worth[rows, best] = -np.inf
        # Not a product of matrices, which may round two that are the same apart.
        to_best = (units * units[rows, best][:, np.newaxis]).sum(2)
        alike = np.maximum(alike, to_best) if at else to_best
    return chosen


def _normed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt(np.square(values).sum(-1, keepdims=True))
    normed: NDArray[np.float64] = values / np.where(length > 0, length, 1)
    return normed
