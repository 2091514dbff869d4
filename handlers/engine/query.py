"""What is asked and what is answered: one query, one ranking, and the limits on both."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from handlers.engine.reasons import Reasons
from handlers.filters.filter import Filter

LOWEST_RATING, HIGHEST_RATING = 1.0, 10.0  # that a user gives, and that the graph predicts
RECOMMENDED = 10  # titles in a recommendation that does not say how many it wants
# Bytes of a request, as the proto file has it: a candidate's tag and id, at their longest; those of
# a history item, with its rating; and all else (profile, version, what a newer caller adds).
CANDIDATE_BYTES, HISTORY_BYTES, OTHER_BYTES = 11, 18, 16 * 1024


class Objective(IntEnum):
    """What the ranking is ordered by; the numbers are those of the proto file."""

    RATING = 1
    AFFINITY = 2
    BLENDED = 3


class Familiarity(IntEnum):
    """How the user was known; the numbers are those of the proto file."""

    KNOWN = 1
    NEW_WITH_HISTORY = 2
    NEW = 3


class LiveHistory(IntEnum):
    """Whether what was recorded of a user counts; the numbers are those of the proto file."""

    UNSPECIFIED = 0  # not looked for
    NONE = 1
    COUNTED = 2
    UNAVAILABLE = 3


def _no_ids() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


def _no_ratings() -> NDArray[np.float32]:
    return np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request to rank.

    user_id: MyAnimeList id, None for a visitor without one.
    candidate_ids: int64[N] to rank, None to choose from the whole catalogue.
    history_ids, history_ratings: int64[H] and float32[H], what the user has watched and how they
        rated it, 1 to 10, NaN = not rated. Empty: the stored history of a known user is taken, and
        what was recorded.
    recorded_ids, recorded_ratings: int64[R] and float32[R], each anime once, what was recorded of
        the user since; it takes the place of what the stored history says of the same anime.
    profile: float32[P] in the order of the manifest's profile, NaN = not given; None = none given.
    top_k: how many to answer, None for all.
    include_seen, include_adult: only without candidates: keep what was watched, what is adult.
    explain: say why each answered anime has its wide score.
    filter: which anime may be answered, of the candidates as of the catalogue; None = whichever.
    diversity: 0 to 1, how much anime that are alike are kept out of one answer, at 0 not at all;
        above it top_k is `Limits.diversified` at most, and the order is that of choice.
    """

    user_id: int | None = None
    candidate_ids: NDArray[np.int64] | None = None
    history_ids: NDArray[np.int64] = field(default_factory=_no_ids)
    history_ratings: NDArray[np.float32] = field(default_factory=_no_ratings)
    recorded_ids: NDArray[np.int64] = field(default_factory=_no_ids)
    recorded_ratings: NDArray[np.float32] = field(default_factory=_no_ratings)
    profile: NDArray[np.float32] | None = None
    top_k: int | None = None
    objective: Objective = Objective.BLENDED
    include_seen: bool = False
    include_adult: bool = False
    explain: bool = False
    filter: Filter | None = None
    diversity: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """One answer: anime by score, highest first; equal scores in the order they were asked in.

    With diversity they are in the order in which they were chosen, the best first.

    anime_ids: int64[K]; scores, ratings, affinities, wides: float32[K].
    unknown_candidates: int64[M], candidates that are not in the catalogue, each once.
    unknown_history: int64[J], anime of the query's history that are not, each once.
    history_size: how many anime of the catalogue it was ranked by, each counted once.
    compute_s: seconds from the batch's start until this answer was ready.
    reasons: None where the query did not ask to explain.
    live_history: whether what was recorded of the user counts; who looks for it says so.
    """

    anime_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    ratings: NDArray[np.float32]
    affinities: NDArray[np.float32]
    wides: NDArray[np.float32]
    unknown_candidates: NDArray[np.int64]
    unknown_history: NDArray[np.int64]
    history_size: int
    familiarity: Familiarity
    compute_s: float = 0.0
    reasons: Reasons | None = None
    live_history: LiveHistory = LiveHistory.UNSPECIFIED

    @property
    def listed(self) -> int:
        """How many ids the answer lists."""
        return len(self.anime_ids) + len(self.unknown_candidates)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold, how many may wait, and how many of one stream are taken up.

    filter_values, filter_ids: in each list of values, or of ids, of a filter. diversified: anime in
    an answer with diversity.
    """

    candidates: int = 25_000
    history: int = 2_000
    queued: int = 256
    streamed: int = 64
    filter_values: int = 100
    filter_ids: int = 5_000
    diversified: int = 100

    @property
    def message_bytes(self) -> int:
        """The most bytes that a request within these limits takes as a proto message."""
        ids = self.candidates + 2 * self.filter_ids
        entries = CANDIDATE_BYTES * ids + HISTORY_BYTES * self.history
        return entries + OTHER_BYTES
