"""Why a ranked anime has the wide score it has: the few contributions that lift it most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundles.crosses import Contributions

# What a reader takes in at a glance; the rest is in `rests`.
MOST_ANIME, MOST_GENRES = 3, 2


@dataclass(frozen=True, slots=True, eq=False)
class Reasons:
    """Of each of K ranked anime: what lifts its wide score most, and what all else adds to it.

    A reason adds something above zero; an anime has at most `MOST_ANIME` of the history's anime and
    `MOST_GENRES` genres, largest first. An anime that stands twice in the history gives two.
    The i-th has those at offsets[i] up to offsets[i + 1]; they and rests[i] sum to its wide score.
    The sum is exact in float64, for which reason the rests are: no float32 brings, say, 3 + rest
    to every float32 near 0.

    offsets: int64[K + 1]; anime_ids: int64[R], 0 where the reason is a genre; ratings: float32[R],
    NaN = not rated, or a genre; genres: int64[R], place among the manifest's genres, -1 where the
    reason is an anime; contributions: float32[R], in units of the wide score; rests: float64[K].
    """

    offsets: NDArray[np.int64]
    anime_ids: NDArray[np.int64]
    ratings: NDArray[np.float32]
    genres: NDArray[np.int64]
    contributions: NDArray[np.float32]
    rests: NDArray[np.float64]


def no_reasons(wides: NDArray[np.float32]) -> Reasons:
    """Of a model whose wide part takes no history: all of float32[K] wide scores is the rest."""
    return Reasons(
        offsets=np.zeros(len(wides) + 1, np.int64),
        anime_ids=np.empty(0, np.int64),
        ratings=np.empty(0, np.float32),
        genres=np.empty(0, np.int64),
        contributions=np.empty(0, np.float32),
        rests=wides.astype(np.float64),
    )


def reasons(
    contributions: Contributions,
    history_ids: NDArray[np.int64],
    history_ratings: NDArray[np.float32],
    wides: NDArray[np.float32],
) -> Reasons:
    """The reasons for K candidates whose wide scores are float32[K].

    history_ids, history_ratings: int64[H] and float32[H], the history that was taken apart.
    """
    by_genre = contributions.genre.astype(np.float32)
    candidate, genre = np.nonzero(by_genre > 0)
    value = contributions.value.astype(np.float32)
    anime = _largest(contributions.candidate, value, MOST_ANIME)
    chosen = _largest(candidate, by_genre[candidate, genre], MOST_GENRES)
    watched, genre = contributions.watched[anime], genre[chosen]
    of = np.concatenate((contributions.candidate[anime], candidate[chosen]))
    added = np.concatenate((value[anime], by_genre[candidate[chosen], genre]))
    no_id, no_rating = np.zeros(len(genre), np.int64), np.full(len(genre), np.nan, np.float32)
    order = np.lexsort((-added, of))  # stable: of two that add as much, the anime before the genre
    of, added = of[order], added[order]
    offsets = np.searchsorted(of, np.arange(len(wides) + 1))
    summed = np.bincount(of, added.astype(np.float64), len(wides))
    return Reasons(
        offsets=offsets.astype(np.int64),
        anime_ids=np.concatenate((history_ids[watched], no_id))[order],
        ratings=np.concatenate((history_ratings[watched], no_rating))[order],
        genres=np.concatenate((np.full(len(watched), -1), genre))[order],
        contributions=added,
        rests=wides.astype(np.float64) - summed,
    )


def _largest(
    candidate: NDArray[np.int64], value: NDArray[np.float32], most: int
) -> NDArray[np.intp]:
    """Of each candidate's values above zero the places of the `most` largest, the first of equals.

    candidate: int64[n]; value: float32[n].
    """
    places = np.flatnonzero(value > 0)
    order = places[np.lexsort((-value[places], candidate[places]))]
    mine = candidate[order]
    rank = np.arange(len(mine)) - np.searchsorted(mine, mine)
    return order[rank < most]
