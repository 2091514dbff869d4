"""From anime to what is like them."""

import time

import numpy as np
from numpy.typing import NDArray

from bundles.bundle import Bundle
from handlers.similar.likeness import WEIGHT_OF_VECTORS, Likenesses
from handlers.similar.query import Likeness, SimilarQuery, SimilarRanking


class Similar:
    """Finds what is like the anime of a bundle; may be used from several threads at once."""

    def __init__(self, bundle: Bundle) -> None:
        """Find by what `bundle` has."""
        self._catalogue = bundle.catalogue
        self._likenesses = Likenesses(bundle)

    def answer(self, query: SimilarQuery, keep: NDArray[np.bool_] | None) -> SimilarRanking:
        """What is like the anime of a valid query; keep: bool[A], what may be answered, None = all.

        The likeness has to be one that the bundle offers.
        """
        began = time.perf_counter()
        ids = _distinct(query.anime_ids)
        rows = self._catalogue.rows(ids)
        likeness = query.likeness or self._likenesses.offered[0]
        unknown, rows = ids[rows < 0], np.sort(rows[rows >= 0])
        crosses, vectors = self._scores(rows, likeness)
        score = (
            crosses + WEIGHT_OF_VECTORS * vectors
            if likeness is Likeness.BOTH
            else crosses + vectors
        ).astype(np.float32)
        able = np.ones(len(self._catalogue), np.bool_) if keep is None else keep.copy()
        able[rows] = False
        if not query.include_adult:
            able &= ~self._catalogue.adult
        if likeness is Likeness.CROSSES or not len(rows):
            able &= score > 0
        found = _best(score, np.flatnonzero(able), query.top_k)
        return SimilarRanking(
            anime_ids=self._catalogue.anime_id[found],
            scores=score[found],
            crosses=crosses[found].astype(np.float32),
            vectors=vectors[found].astype(np.float32),
            common=self._likenesses.common(rows, found),
            unknown=unknown,
            likeness=likeness,
            compute_s=time.perf_counter() - began,
        )

    def _scores(
        self, rows: NDArray[np.intp], likeness: Likeness
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By crosses and by vectors, float64[A] each; 0 of what is not asked for, or of nothing."""
        none = np.zeros(len(self._catalogue))
        if not len(rows):
            return none, none
        crosses = none if likeness is Likeness.VECTORS else self._likenesses.crosses(rows)
        vectors = none if likeness is Likeness.CROSSES else self._likenesses.vectors(rows)
        return crosses, vectors


def _distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each id once, at its first place."""
    _, first = np.unique(ids, return_index=True)
    return ids[np.sort(first)]


def _best(scores: NDArray[np.float32], rows: NDArray[np.intp], top_k: int) -> NDArray[np.intp]:
    """Of ascending int[n] rows the `top_k` of the highest float32[A] scores; equal ones by row."""
    mine = -scores[rows]
    if top_k < len(rows):
        edge = np.partition(mine, top_k - 1)[top_k - 1]
        level = np.flatnonzero(mine == edge)
        above = np.flatnonzero(mine < edge)
        chosen = np.sort(np.concatenate((above, level[: top_k - len(above)])))
        rows, mine = rows[chosen], mine[chosen]
    return np.asarray(rows[np.argsort(mine, kind="stable")])
