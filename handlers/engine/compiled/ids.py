"""From MyAnimeList ids to rows of the tables."""

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled_to_the_letter
from handlers.engine.compiled.selection import Asked


@compiled_to_the_letter
def rows_of(index: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[N], the row of each id by `Catalogue.by_id`, 0 where there is none."""
    rows = np.zeros(len(ids), np.int64)
    for n in range(len(ids)):
        if 0 < ids[n] < len(index):
            rows[n] = index[ids[n]]
    return rows


@compiled_to_the_letter
def in_rows(index: NDArray[np.int32], asked: Asked) -> Asked:
    """A request in rows above 0, less what of its history has none; a candidate may have row 0."""
    watched, ratings, known = rows_of(index, asked.watched), asked.ratings.copy(), 0
    for h in range(len(watched)):
        if watched[h]:
            watched[known], ratings[known] = watched[h], ratings[h]
            known += 1
    candidates = rows_of(index, asked.candidates)
    return Asked(asked.user, watched[:known], ratings[:known], asked.profile, candidates)


@compiled_to_the_letter
def part(
    index: NDArray[np.int32], ids: NDArray[np.int64], place: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids that `Catalogue.by_id` knows, each once, and the others as often as they stand.

    place: int32[A], scratch.
    """
    known, unknown = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    rows = rows_of(index, ids)
    # Where a row has no place yet, whatever stands there does not lead back to it.
    found, others = 0, 0
    for n in range(len(ids)):
        row = rows[n]
        if not row:
            unknown[others] = ids[n]
            others += 1
        elif not (0 <= place[row - 1] < found and known[place[row - 1]] == ids[n]):
            place[row - 1] = found
            known[found] = ids[n]
            found += 1
    return known[:found], unknown[:others]
