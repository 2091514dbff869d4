"""A toy model whose every number is known: what the tests of the engine reckon with.

All its numbers are multiples of 1/8 and small, so that float32 adds them up exactly in any order:
an answer is either the reference's or wrong. Ties are frequent.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundles.profile import ProfileField
from bundles.wide import Genre, Wide
from handlers.engine.query import Familiarity, Objective, Query, Ranking
from handlers.engine.reasons import Reasons

ANIME, USERS, DAYS_WEIGHT, BETA, MEAN = 60, 40, 4.0, 0.5, 7.0
GENRES, GENRE_WEIGHT = ("Action", "Sci-Fi"), 0.125
# An anime weighs as much as its rating lies above 5, and 1 if it is not rated; a genre adds as much
# for every anime of it. Dampings so large that nothing is left of what they damp, and a weight as
# large, bring the formula of the wide part to that, without a sum that float32 would round.
HUGE = 2.0**1000
WIDE = Wide(
    taste=1.0,
    damping=HUGE,
    genre_damping=HUGE,
    genres=tuple(
        Genre(name, liking=0.0, watching=GENRE_WEIGHT * HUGE, usual=0.0) for name in GENRES
    ),
)
PROFILE = (
    ProfileField("gender", "category", ("Female", "Male", "unknown")),
    ProfileField("days_watched", "number"),
)


@dataclass(frozen=True)
class World:
    """The toy's numbers; row 0 of a table stands for what is not known."""

    anime_id: np.ndarray
    adult: np.ndarray
    base: np.ndarray
    popularity: np.ndarray
    taste: np.ndarray
    genre: np.ndarray
    user_id: np.ndarray
    user_bias: np.ndarray
    user_gender: np.ndarray
    user_days: np.ndarray
    gender_bias: np.ndarray
    histories: list[list[tuple[int, int]]]

    @staticmethod
    def make() -> "World":
        random = np.random.default_rng(5)

        def eighths(*shape: int) -> np.ndarray:
            return (random.integers(-8, 9, shape) / 8).astype(np.float32)

        anime_id = np.arange(1, ANIME + 1, dtype=np.int64) * 3
        return World(
            anime_id=anime_id,
            adult=np.arange(ANIME) % 7 == 6,
            base=7 + np.round(eighths(ANIME + 1)),
            popularity=np.round(eighths(ANIME + 1)),
            taste=np.round(2 * eighths(ANIME + 1, 2)) / 2,
            genre=np.arange(ANIME + 1)[:, None] % (2, 3) == (1, 0),
            user_id=np.arange(1, USERS + 1, dtype=np.int64) * 10,
            user_bias=eighths(USERS + 1),
            user_gender=random.integers(0, 4, USERS + 1),
            user_days=eighths(USERS + 1),
            gender_bias=eighths(4),
            histories=[
                [
                    (int(anime), int(random.integers(0, 11)))
                    for anime in random.choice(anime_id, random.integers(0, 12), replace=False)
                ]
                for _ in range(USERS)
            ],
        )

    def rank(self, query: Query) -> Ranking:
        """What the engine should answer, one number at a time."""
        users = {int(user): row for row, user in enumerate(self.user_id, start=1)}
        rows = {int(anime): row for row, anime in enumerate(self.anime_id, start=1)}
        user = users.get(query.user_id or 0, 0)
        stored = [(a, r or math.nan) for a, r in self.histories[user - 1]] if user else []
        given = list(zip(query.history_ids.tolist(), query.history_ratings.tolist(), strict=True))
        if query.candidate_ids is None:
            seen = {anime for anime, _ in given + stored}
            asked = [
                anime
                for anime, adult in zip(self.anime_id.tolist(), self.adult, strict=True)
                if (query.include_seen or anime not in seen) and (query.include_adult or not adult)
            ]
        else:
            asked = list(dict.fromkeys(query.candidate_ids.tolist()))
        watched = [(anime, rating) for anime, rating in given or stored if anime in rows]
        gender, days = (math.nan, math.nan) if query.profile is None else query.profile.tolist()
        gender = self.user_gender[user] if math.isnan(gender) else int(gender)
        days = self.user_days[user] if math.isnan(days) else days
        about = self.user_bias[user] + self.gender_bias[gender] + DAYS_WEIGHT * days
        scored = []
        for place, anime in enumerate(a for a in asked if a in rows):
            rating = min(max(self.base[rows[anime]] + about, 1), 10)
            parts = self._parts(rows[anime], watched, rows)
            wide = sum(added for added, *_ in parts)
            affinity = self.popularity[rows[anime]] + wide
            score = {
                Objective.RATING: rating,
                Objective.AFFINITY: affinity,
                Objective.BLENDED: affinity + BETA * (rating - MEAN),
            }[query.objective]
            scored.append((-score, place, anime, rating, affinity, wide, _chosen(parts)))
        scored = sorted(scored)[: query.top_k]
        new = Familiarity.NEW_WITH_HISTORY if watched else Familiarity.NEW
        unknown_history = dict.fromkeys(anime for anime, _ in given if anime not in rows)
        return Ranking(
            anime_ids=np.array([entry[2] for entry in scored], np.int64),
            scores=np.array([-entry[0] for entry in scored], np.float32),
            ratings=np.array([entry[3] for entry in scored], np.float32),
            affinities=np.array([entry[4] for entry in scored], np.float32),
            wides=np.array([entry[5] for entry in scored], np.float32),
            reasons=_reasons(scored) if query.explain else None,
            unknown_candidates=np.array([a for a in asked if a not in rows], np.int64),
            unknown_history=np.array(list(unknown_history), np.int64),
            history_size=len({anime for anime, _ in watched}),
            familiarity=Familiarity.KNOWN if user else new,
        )

    def _parts(
        self, row: int, watched: list[tuple[int, float]], rows: dict[int, int]
    ) -> list[tuple[float, int, float, int]]:
        """What each anime and each genre adds: how much, anime id, rating, genre (0, NaN, -1)."""
        parts: list[tuple[float, int, float, int]] = []
        for anime, rating in watched:
            weight = 1 if math.isnan(rating) else rating - 5
            parts.append((weight * (self.taste[rows[anime]] @ self.taste[row]), anime, rating, -1))
        for genre in np.flatnonzero(self.genre[row]).tolist():
            of_it = sum(bool(self.genre[rows[anime], genre]) for anime, _ in watched)
            parts.append((GENRE_WEIGHT * of_it, 0, math.nan, genre))
        return parts


def _chosen(
    parts: list[tuple[float, int, float, int]],
) -> tuple[list[tuple[float, int, float, int]], float]:
    """The three anime and two genres that add most, if above 0; and the sum of all others."""
    ordered = sorted(parts, key=lambda part: -part[0])
    raising = [part for part in ordered if part[0] > 0]
    anime, genres = ([p for p in raising if (p[3] < 0) is of] for of in (True, False))
    chosen = sorted(anime[:3] + genres[:2], key=lambda part: -part[0])
    return chosen, sum(part[0] for part in parts) - sum(part[0] for part in chosen)


def _reasons(scored: list[Any]) -> Reasons:
    chosen = [entry[6][0] for entry in scored]
    flat = [part for parts in chosen for part in parts]
    return Reasons(
        offsets=np.cumsum([0, *map(len, chosen)]),
        anime_ids=np.array([part[1] for part in flat], np.int64),
        ratings=np.array([part[2] for part in flat], np.float32),
        genres=np.array([part[3] for part in flat], np.int64),
        contributions=np.array([part[0] for part in flat], np.float32),
        rests=np.array([entry[6][1] for entry in scored], np.float64),
    )
