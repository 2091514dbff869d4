"""The arithmetic of the preset `seed`: that of its served graph, one user at a time.

In float64, with answers in float32. Rows are those of `bundles.tables`: 0 is "unknown".
"""

import math

import numpy as np
from numpy.typing import NDArray

from bundles.tables import SeedTables
from handlers.engine.compiled.ids import rows_of
from handlers.engine.compiled.jit import compiled, compiled_to_the_letter
from handlers.engine.compiled.layers import dense, relu
from handlers.engine.compiled.selection import Asked, Need, Ranked, ranked, score_of


@compiled
def rank(
    tables: SeedTables,
    index: NDArray[np.int32],
    asked: Asked,
    need: Need,
    place: NDArray[np.int32],
) -> Ranked:
    """The best candidates; see `personal.rank`. Affinity and rating are one here."""
    candidates = rows_of(index, asked.candidates)
    count = len(candidates)
    scores, ratings = np.empty(count, np.float32), np.empty(count, np.float32)
    wides = np.empty(count, np.float32)
    user_wide, from_user = _user(tables, asked)
    first = np.empty(len(from_user))
    second, third = np.empty(len(tables.hidden)), np.empty(len(tables.deeper))
    for n in range(count):
        anime = tables.anime[candidates[n]]
        for r in range(len(first)):
            first[r] = max(from_user[r] + anime[r], 0.0)
        dense(tables.hidden, first, second)
        relu(second)
        dense(tables.deeper, second, third)
        relu(third)
        wide, deep = user_wide + anime[-1], 0.0
        for t in range(len(third)):
            deep += tables.last[t] * third[t]
        ratings[n], wides[n] = wide + deep, wide
        scores[n] = score_of(ratings[n], ratings[n], need)
    finite = bool(np.isfinite(scores).all() and np.isfinite(ratings).all())
    best, columns = ranked(np.arange(count), scores, ratings, ratings, wides, need.top_k)
    return best, columns, finite


@compiled_to_the_letter
def rank_now(
    tables: SeedTables,
    index: NDArray[np.int32],
    asked: Asked,
    need: Need,
    place: NDArray[np.int32],
) -> Ranked:
    """As `rank`, for what is quick."""
    return rank(tables, index, asked, need, place)


@compiled
def _user(tables: SeedTables, asked: Asked) -> tuple[float, NDArray[np.float64]]:
    """The user's own wide score, and float64[R], what they bring to the first layer."""
    stored, profile = tables.user[asked.user], asked.profile
    gender = stored[0] if math.isnan(profile[0]) else np.float64(profile[0])
    known = 0 <= gender < len(tables.genders)
    wide = stored[-1] + tables.genders[int(gender) if known else 0, 0]
    mean, deviation = tables.numbers
    scaled, units = np.empty(len(mean)), np.empty(len(tables.from_user))
    for p in range(len(mean)):
        stated = stored[p + 1] if math.isnan(profile[p + 1]) else np.float64(profile[p + 1])
        scaled[p] = (stated - mean[p]) / deviation[p]
    for r in range(len(units)):
        units[r] = 0.0
        for p in range(len(mean)):
            units[r] += tables.from_user[r, p] * scaled[p]
    return wide, units
