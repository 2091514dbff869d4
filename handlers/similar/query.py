"""What is asked and what is answered of likeness."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.filters.filter import Filter

ANSWERED = 10  # anime of an answer to who does not say how many they want


class Likeness(IntEnum):
    """What makes one anime like another; the numbers are those of the proto file."""

    CROSSES = 1
    VECTORS = 2
    BOTH = 3


@dataclass(frozen=True, slots=True, eq=False)
class SimilarQuery:
    """One request for what is like some anime.

    anime_ids: int64[S], MyAnimeList ids of what others are to be like. top_k: how many to answer.
    likeness: None = the first that the bundle offers. include_adult: keep adult titles. filter:
    what may be answered, None = whatever.
    """

    anime_ids: NDArray[np.int64]
    top_k: int = ANSWERED
    likeness: Likeness | None = None
    include_adult: bool = False
    filter: Filter | None = None

    @property
    def candidate_ids(self) -> None:
        """None: all of the catalogue are candidates."""
        return


class Common(NamedTuple):
    """What an anime has in common with those asked about.

    genres, studios: that it shares with one of them at least; watched: the ids of those whose
    watchers watch it too, and the weights of their crosses, largest first.
    """

    genres: tuple[str, ...]
    studios: tuple[str, ...]
    watched: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SimilarRanking:
    """Anime by how like they are, most first; equal ones by id.

    anime_ids: int64[K]; scores, crosses, vectors: float32[K], the last two 0 where the likeness is
    not of them; common: K, what each shares. unknown: int64[M], of those asked about the ones that
    are not in the catalogue, each once. likeness: by which it is. compute_s: seconds it took.
    """

    anime_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    crosses: NDArray[np.float32]
    vectors: NDArray[np.float32]
    common: list[Common]
    unknown: NDArray[np.int64]
    likeness: Likeness
    compute_s: float = 0.0

    @property
    def listed(self) -> int:
        """How many ids the answer lists."""
        return len(self.anime_ids) + len(self.unknown)
