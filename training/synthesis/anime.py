"""Invented anime, and the file that lists them as the dump would."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bundles import files
from training.synthesis.titles import Title, synopsis, titles

HEADER = (
    "anime_id,Name,English name,Other name,Score,Genres,Synopsis,Type,Episodes,Aired,Premiered,"
    "Status,Producers,Licensors,Studios,Source,Duration,Rating,Rank,Popularity,Favorites,"
    "Scored By,Members,Image URL\n"
)

GENRES = ["Comedy", "Fantasy", "Action", "Adventure", "Sci-Fi", "Drama", "Slice of Life"]
GENRES += ["Romance", "Supernatural", "Mystery", "Hentai", "Ecchi", "Avant Garde", "Sports"]
GENRES += ["Horror", "Award Winning", "Suspense", "Girls Love", "Boys Love", "Gourmet", "Erotica"]
_TYPES = ["TV", "Movie", "OVA", "ONA", "Special", "Music", "UNKNOWN"]
_TYPE_SHARES = [0.31, 0.18, 0.165, 0.135, 0.105, 0.102, 0.003]
_SOURCES = ["Original", "Manga", "Unknown", "Game", "Visual novel", "Light novel", "Web manga"]
_SOURCE_SHARES = [0.4, 0.2, 0.17, 0.07, 0.06, 0.06, 0.04]
_RATINGS = ["PG-13 - Teens 13 or older", "G - All Ages", "PG - Children", "R+ - Mild Nudity"]
_RATINGS += ["R - 17+ (violence & profanity)", "UNKNOWN"]
_RATING_SHARES = [0.42, 0.32, 0.08, 0.06, 0.07, 0.05]
_HENTAI, _HENTAI_RATING = "Hentai", "Rx - Hentai"
_HOUSES = ["Lantern", "Paper Crane", "North Wind", "Kumo", "Blue Hour", "Tanuki", "Seventh Gate"]
_HOUSES += ["Amber", "Komorebi", "Tidal", "Moss & Stone", "Quiet Hill", "Hanabi", "Satellite"]
_KINDS = ["Studio", "Works", "Pictures", "Animation", "Production", "Films", "Media"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_SEASONS = ["winter", "spring", "summer", "fall"]

# The dump's lowest ids, and the lowest here whatever the size: examples ask for them.
OLDEST = (1, 5, 6, 7, 8, 15, 16, 17, 18, 19, 20, 21)

_UNKNOWN = "UNKNOWN"
_HIGHEST_ID = 55_735  # of the dump, whose ids have gaps
_ID_GAPS = 2.24  # ids for each anime of the dump
_UNSCORED = 0.37  # share without a Score, the least watched ones
_COMMUNITY = 73  # members in the real community for each rating in the dump


@dataclass(frozen=True)
class InventedAnime:
    """A invented anime, some of them known to the ratings file alone.

    ``ids``: int64[A], increasing, the first of them ``OLDEST``; ``titles``: A of them; ``genres``:
    bool[A, 21]; ``unseen``: bool[A], not yet aired; ``listed``: bool[A], in the anime file;
    ``episodes``: int64[A] and ``minutes``: float64[A], the length of one.
    """

    ids: npt.NDArray[np.int64]
    titles: list[Title]
    genres: npt.NDArray[np.bool_]
    unseen: npt.NDArray[np.bool_]
    listed: npt.NDArray[np.bool_]
    types: list[str]
    episodes: npt.NDArray[np.int64]
    minutes: npt.NDArray[np.float64]

    @classmethod
    def invent(cls, count: int, orphans: int, rng: np.random.Generator) -> InventedAnime:
        """``count`` anime for the file and ``orphans`` more that only the ratings name."""
        total = count + orphans
        span = max(_HIGHEST_ID, int(_ID_GAPS * total))
        newer = rng.choice(span - OLDEST[-1], total - len(OLDEST), replace=False)
        ids = np.concatenate([OLDEST, np.sort(newer) + OLDEST[-1] + 1])
        old = np.isin(ids, OLDEST)
        unseen = ~old & (rng.random(total) < 0.012)
        listed = np.ones(total, dtype=np.bool_)
        listed[rng.choice(np.flatnonzero(~unseen & ~old), orphans, replace=False)] = False
        commonness = 1 / np.arange(1, len(GENRES) + 1) ** 0.6
        genres = np.zeros((total, len(GENRES)), dtype=np.bool_)
        for _ in range(3):  # the same one may come twice: one to three genres each
            drawn = rng.choice(len(GENRES), total, p=commonness / commonness.sum())
            genres[np.arange(total), drawn] = True
        genres[old, GENRES.index(_HENTAI)] = False  # what is for adults is left out of lists
        types = rng.choice(_TYPES, total, p=_TYPE_SHARES)
        series = np.isin(types, ["TV", "ONA"])
        episodes = np.where(series, rng.choice([11, 12, 13, 24, 25, 26, 50], total), 1)
        episodes = np.where(types == "OVA", rng.integers(1, 7, total), episodes)
        minutes = np.where(
            series, rng.choice([3, 12, 23, 24, 25], total), rng.integers(2, 60, total)
        )
        minutes = np.where(types == "Movie", rng.integers(40, 150, total), minutes)
        seconds = rng.random(total) < 0.02
        lengths = np.where(seconds, rng.integers(15, 60, total) / 60, minutes)
        return cls(
            ids, titles(total, rng), genres, unseen, listed, types.tolist(), episodes, lengths
        )

    def write(
        self,
        path: Path,
        ratings: npt.NDArray[np.int64],
        means: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        """Write the anime file; ``ratings``: int64[A], how many each got, ``means``: float64[A]."""
        standing = _Standing.of(ratings, means, self.unseen, rng)
        houses = [f"{house} {kind}" for house in _HOUSES for kind in _KINDS]
        with (
            files.whole(path) as scratch,
            scratch.open("w", encoding="utf-8", newline="") as stream,
        ):
            stream.write(HEADER)
            rows = csv.writer(stream, lineterminator="\n")
            for row in np.flatnonzero(self.listed).tolist():
                rows.writerow(self._line(row, standing, houses, rng))

    def _line(
        self, row: int, standing: _Standing, houses: list[str], rng: np.random.Generator
    ) -> list[object]:
        title, kind, number = self.titles[row], self.types[row], int(self.ids[row])
        genres = [genre for genre, has in zip(GENRES, self.genres[row], strict=True) if has]
        chance = rng.random(8)
        adult = _HENTAI in genres
        aired, premiered, status = _aired(kind, bool(self.unseen[row]), rng)
        return [
            number,
            title.romanised,
            title.english if chance[0] < 0.42 else _UNKNOWN,
            title.japanese,
            standing.score[row],
            ", ".join(genres) if chance[1] < 0.8 else _UNKNOWN,
            synopsis(title, rng) if chance[2] < 0.8 else _no_synopsis(chance[2]),
            kind,
            f"{self.episodes[row]}.0" if chance[3] < 0.97 and not self.unseen[row] else _UNKNOWN,
            aired,
            premiered,
            status,
            _names(houses, 0.54, rng),
            _names(houses, 0.19, rng),
            _names(houses, 0.57, rng, most=1),
            rng.choice(_SOURCES, p=_SOURCE_SHARES),
            _duration(float(self.minutes[row]), kind) if chance[4] < 0.97 else "Unknown",
            _HENTAI_RATING if adult else rng.choice(_RATINGS, p=_RATING_SHARES),
            standing.rank[row],
            standing.popularity[row] if chance[5] > 0.005 else 0,
            standing.favorites[row],
            standing.scored_by[row],
            standing.members[row],
            f"https://images.example/anime/{number % 2000}/{number}.jpg",
        ]


@dataclass(frozen=True)
class _Standing:
    """How the community stands to each anime, as the file spells it."""

    score: list[str]
    rank: list[str]
    popularity: list[int]
    favorites: list[int]
    scored_by: list[str]
    members: list[int]

    @classmethod
    def of(
        cls,
        ratings: npt.NDArray[np.int64],
        means: npt.NDArray[np.float64],
        unseen: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> _Standing:
        count = len(ratings)
        watching = np.lexsort((rng.random(count), ratings))  # ties in a random order
        scored = np.ones(count, dtype=np.bool_)
        scored[watching[: int(_UNSCORED * count)]] = False
        scored &= ~unseen
        score = np.clip(means + rng.normal(0, 0.08, count), 1, 10).round(2)
        rank = np.empty(count, dtype=np.int64)
        rank[np.argsort(np.where(scored, -score, rng.random(count)), kind="stable")] = (
            np.arange(count) + 1
        )
        unranked = ~scored & (rng.random(count) < 0.5)
        none = unranked & (rng.random(count) < 0.05)
        members = (ratings * _COMMUNITY * rng.lognormal(0, 0.15, count)).astype(np.int64)
        members += rng.integers(5, 200, count)
        popularity = np.empty(count, dtype=np.int64)
        popularity[np.argsort(-members, kind="stable")] = np.arange(count) + 1
        favorites = (members * np.exp(1.5 * (means - 7.6)) * 0.005).astype(np.int64)
        scored_by = (members * 0.55).astype(np.int64)
        return cls(
            [str(s) if known else _UNKNOWN for s, known in zip(score, scored, strict=True)],
            [
                "0.0" if zero else _UNKNOWN if unknown else f"{place}.0"
                for place, unknown, zero in zip(rank, unranked, none, strict=True)
            ],
            popularity.tolist(),
            favorites.tolist(),
            [f"{n}.0" if known else _UNKNOWN for n, known in zip(scored_by, scored, strict=True)],
            members.tolist(),
        )


def _no_synopsis(chance: float) -> str:
    return _UNKNOWN if chance < 0.81 else "No description available for this anime."


def _names(houses: list[str], share: float, rng: np.random.Generator, most: int = 4) -> str:
    if rng.random() >= share:
        return _UNKNOWN
    # Squaring favours the first: a few houses make most of the anime.
    places = (rng.random(int(rng.integers(1, most + 1))) ** 2 * len(houses)).astype(int)
    return ", ".join(dict.fromkeys(houses[place] for place in places.tolist()))


def _duration(minutes: float, kind: str) -> str:
    if minutes < 1:
        text = f"{round(minutes * 60)} sec"
    else:
        hours, rest = divmod(round(minutes), 60)
        parts = [f"{hours} hr"] * bool(hours) + [f"{rest} min"] * bool(rest)
        text = " ".join(parts)
    return f"{text} per ep" if kind in ("TV", "ONA", "OVA") else text


def _aired(kind: str, unseen: bool, rng: np.random.Generator) -> tuple[str, str, str]:
    """Aired, Premiered and Status that fit together, in one of the dump's spellings."""
    if unseen:
        return (
            str(rng.choice(["Not available", "2024 to ?", "Jul 2024 to ?"])),
            _UNKNOWN,
            "Not yet aired",
        )
    age = int(min(rng.exponential(13), 60) * 365) + int(rng.integers(200))
    start = date(2023, 7, 1) - timedelta(days=age)
    end = start + timedelta(days=int(rng.integers(1, 400)))
    spelling = rng.random()
    if kind != "TV":
        single = [_spell(start), f"{_MONTHS[start.month - 1]} {start.year}", str(start.year)]
        forms = [*single, f"{start.year} to {end.year}", "Not available"]
        place = np.searchsorted([0.85, 0.91, 0.97, 0.99], spelling)
        return forms[int(place)], _UNKNOWN, "Finished Airing"
    premiered = f"{_SEASONS[(start.month - 1) // 3]} {start.year}" if spelling < 0.8 else _UNKNOWN
    if end >= date(2023, 7, 1) or spelling > 0.99:
        return f"{_spell(start)} to ?", premiered, "Currently Airing"
    if spelling > 0.96:
        start_month = f"{_MONTHS[start.month - 1]} {start.year}"
        return f"{start_month} to {_spell(end)}", premiered, "Finished Airing"
    return f"{_spell(start)} to {_spell(end)}", premiered, "Finished Airing"


def _spell(day: date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"
