"""From MyAnimeList ids to rows of the tables."""

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled_to_the_letter


def dense_rows(ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32[largest id + 1]: of each id its place in `ids` + 1, else 0."""
    rows = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
    rows[ids] = np.arange(1, len(ids) + 1)
    return rows


@compiled_to_the_letter
def rows_of(index: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[N], the row of each id by `dense_rows`, 0 where there is none."""
    rows = np.zeros(len(ids), np.int64)
    for n in range(len(ids)):
        if 0 < ids[n] < len(index):
            rows[n] = index[ids[n]]
    return rows
