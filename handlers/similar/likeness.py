"""How like the anime of a bundle are to some of them.

By crosses it is the weight that the wide part of the model has from one anime to the other, and by
vectors the cosine of what its deep part ranks both by, less what all anime have in common. Both are
the mean over the anime asked about.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bundles.bundle import Bundle
from bundles.tables import PersonalTables
from handlers.similar.query import Common, Likeness

# What a cosine counts beside the weight of a cross. By validation: `benchmarks.training.similar`.
WEIGHT_OF_VECTORS = 0.1
MOST_WATCHED = 3  # of the anime asked about are named in what is common


class Likenesses:
    """The likenesses of one bundle; `offered`: which it has, the one taken by default first."""

    def __init__(self, bundle: Bundle) -> None:
        self._catalogue, self._crosses, self._facets = (
            bundle.catalogue,
            bundle.crosses,
            bundle.facets,
        )
        self._tables = bundle.tables if isinstance(bundle.tables, PersonalTables) else None
        self.offered = offered(bundle)

    def crosses(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """float64[A], the mean weight of the crosses from int[S] rows, each once."""
        assert self._crosses is not None
        candidates, weights = self._crosses.candidate[rows], self._crosses.weight[rows]
        summed = np.bincount(candidates.ravel(), weights.ravel(), len(self._catalogue))
        return np.asarray(summed / len(rows))

    def vectors(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """float64[A], the mean cosine of each anime's vector with those of int[S] rows."""
        vectors, centre = self._vectors, self._centre
        mean = ((vectors[rows] - centre) / self._lengths[rows, np.newaxis]).mean(0)
        return np.asarray((vectors @ mean - centre @ mean) / self._lengths)

    def common(self, rows: NDArray[np.intp], found: NDArray[np.intp]) -> list[Common]:
        """What each of int[K] found rows has in common with int[S] rows."""
        of_genres = self._shared("genres", rows, found)
        of_studios = self._shared("studios", rows, found)
        watched = self._watched(rows, found)
        return [Common(*of) for of in zip(of_genres, of_studios, watched, strict=True)]

    @property
    def _vectors(self) -> NDArray[np.float64]:
        """float64[A, D], as they are mapped from the bundle."""
        assert self._tables is not None
        return self._tables.anime[1:, : self._tables.watched.shape[1] - 1]

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        return np.asarray(self._vectors.mean(0))

    @cached_property
    def _lengths(self) -> NDArray[np.float64]:
        """float64[A], from the centre; of what lies in it 1, so that it is like none."""
        lengths = np.linalg.norm(self._vectors - self._centre, axis=1)
        return np.asarray(np.where(lengths > 0, lengths, 1.0))

    @cached_property
    def _values(self) -> dict[str, list[tuple[int, ...]]]:
        """By column, the values of each anime as places among those of the facets."""
        made: dict[str, list[list[int]]] = {
            column: [[] for _ in range(len(self._catalogue))] for column in ("genres", "studios")
        }
        facets, offsets = self._facets, self._facets.offsets.tolist()
        for value, column in enumerate(facets.columns):
            if column in made:
                for row in facets.rows[offsets[value] : offsets[value + 1]].tolist():
                    made[column][row].append(value)
        return {column: [tuple(each) for each in of] for column, of in made.items()}

    def _shared(
        self, column: str, rows: NDArray[np.intp], found: NDArray[np.intp]
    ) -> list[tuple[str, ...]]:
        of, names = self._values[column], self._facets.values
        asked = {value for row in rows.tolist() for value in of[row]}
        return [
            tuple(names[value] for value in of[row] if value in asked) for row in found.tolist()
        ]

    def _watched(
        self, rows: NDArray[np.intp], found: NDArray[np.intp]
    ) -> Sequence[tuple[tuple[int, float], ...]]:
        if self._crosses is None:
            return [()] * len(found)
        place = np.full(len(self._catalogue), -1, np.int64)
        place[found] = np.arange(len(found))
        weights, at = self._crosses.weight[rows], place[self._crosses.candidate[rows]]
        asked, cross = np.nonzero((at >= 0) & (weights > 0))
        weight, of = weights[asked, cross], at[asked, cross]
        order = np.lexsort((asked, -weight, of))
        ids = self._catalogue.anime_id[rows[asked[order]]].tolist()
        pairs = [*zip(ids, weight[order].tolist(), strict=True)]
        ends = np.searchsorted(of[order], np.arange(len(found) + 1)).tolist()
        return [
            tuple(pairs[begin : min(end, begin + MOST_WATCHED)]) for begin, end in pairwise(ends)
        ]


def offered(bundle: Bundle) -> tuple[Likeness, ...]:
    """The likenesses that a bundle has, the one that is taken by default first."""
    crosses = (Likeness.CROSSES,) * (bundle.crosses is not None)
    vectors = (Likeness.VECTORS,) * isinstance(bundle.tables, PersonalTables)
    both = (Likeness.BOTH,) * bool(crosses and vectors)
    return (*both, *crosses, *vectors)
