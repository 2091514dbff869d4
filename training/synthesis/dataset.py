"""Invented data in the shape of the dump, for tests, demonstrations and measurements."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anirank.errors import DataError
from bundles import files
from training.synthesis import user_details
from training.synthesis.anime import OLDEST, InventedAnime
from training.synthesis.community import Community, cuts, lengths
from training.synthesis.titles import usernames
from training.tables.preparation import ANIME_FILE, RATINGS_FILE, SYNTHETIC_FILE, USERS_FILE
from training.tables.tables import Ratings

KNOWN_USERS = (366396, 1202590)  # always present, with histories worth recommending from
KNOWN_HISTORY = 20  # ratings that each of them has at least

_FEWEST_USERS, _FEWEST_ANIME = 20, 40
_MOST_USERS = 30_000_000  # ids with gaps then still fit the served graph's id table
_HIGHEST_USER_ID, _ID_GAPS = 1_300_000, 1.77  # of the dump
_RATING_SHARE_SMALL, _RATING_SHARE_LARGE = 0.8, 0.3693  # of users who rate, up to and from:
_SMALL, _LARGE = 10_000, 100_000  # users
# Of anime that nobody has rated, beside those not yet aired; up to and from so many anime.
_OBSCURE_SMALL, _OBSCURE_LARGE = 0.0, 0.333
_SMALL_CATALOGUE, _LARGE_CATALOGUE = 10_000, 24_905
_FULLEST = 0.9  # of what one can have seen, the longest list
_ORPHAN_USERS, _ORPHAN_ANIME = 0.015, 0.004  # shares that only the ratings file knows
_CHUNK_CELLS = 25_000_000  # users times anime worked on at once: they stay in the cache
_HEADER = b"user_id,Username,anime_id,Anime Title,rating\n"


@dataclass(frozen=True)
class _Users:
    """Everyone with an id: the users of the details file, and a few whom only ratings know.

    ``ids``: int64[U], increasing; ``listed``: bool[U], in the details file; ``raters``: int64[P],
    rows of those who rate; ``lengths``: int64[P], of their lists.
    """

    ids: npt.NDArray[np.int64]
    names: pa.StringArray
    listed: npt.NDArray[np.bool_]
    raters: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def synthesise(
    folder: Path, users: int = 2000, anime: int = 1000, ratings: int = 100_000, seed: int = 0
) -> None:
    """Write the three CSV files of an invented dump into ``folder``, and that they are invented.

    ``users`` and ``anime`` are the rows of their files, ``ratings`` those of the ratings file,
    distinct pairs, some of users and anime that the other files do not list. Of up to 10,000
    users 80% rate, of 100,000 or more 37%, as in the dump; of up to 10,000 anime nearly all are
    rated, of 24,905 or more two thirds, as there. Whatever the size, the anime have the
    ids of ``OLDEST``, much watched, and the users those of ``KNOWN_USERS``. The same arguments
    give the same bytes. DataError if the sizes cannot be met or the folder cannot be written.
    """
    _check_sizes(users, anime, ratings)
    folder = Path(folder)
    seeds = np.random.SeedSequence(seed).spawn(5)
    catalogue_rng, taste_rng, user_rng, file_rng = map(np.random.default_rng, seeds[:4])
    catalogue = InventedAnime.invent(anime, round(_ORPHAN_ANIME * anime), catalogue_rng)
    famous = np.isin(catalogue.ids, OLDEST)
    obscure = _obscure(anime)
    community = Community.invent(catalogue.genres, catalogue.unseen, famous, obscure, taste_rng)
    everyone = _everyone(users, ratings, int((community.popularity > 0).sum()), user_rng)
    rated = _rate(community, everyone, seeds[4])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_ratings(folder / RATINGS_FILE, rated, everyone, catalogue)
        _write_anime(folder / ANIME_FILE, rated, catalogue, file_rng)
        _write_users(folder / USERS_FILE, rated, everyone, catalogue, file_rng)
        written = (ANIME_FILE, USERS_FILE, RATINGS_FILE)
        digests = {name: files.sha256(folder / name) for name in written}
        files.write_json(folder / SYNTHETIC_FILE, {"seed": seed, "sha256": digests})
    except OSError as fault:
        raise DataError(f"{folder}: cannot be written: {fault.strerror or fault}") from fault


def _check_sizes(users: int, anime: int, ratings: int) -> None:
    if not _FEWEST_USERS <= users <= _MOST_USERS:
        raise DataError(f"{users} users: from {_FEWEST_USERS} to {_MOST_USERS} can be invented")
    if anime < _FEWEST_ANIME:
        raise DataError(f"{anime} anime: at least {_FEWEST_ANIME} are needed")
    fewest = users + KNOWN_HISTORY * len(KNOWN_USERS)
    most = int(users * anime * (1 - _obscure(anime))) // 2
    if not fewest <= ratings <= most:
        raise DataError(
            f"{ratings} ratings: {users} users and {anime} anime take {fewest} to {most}"
        )


def _obscure(anime: int) -> float:
    sizes = np.log([_SMALL_CATALOGUE, _LARGE_CATALOGUE])
    return float(np.interp(np.log(anime), sizes, [_OBSCURE_SMALL, _OBSCURE_LARGE]))


def _everyone(users: int, ratings: int, seen: int, rng: np.random.Generator) -> _Users:
    """``seen``: how many anime can be rated at all."""
    share = np.interp(
        np.log(users), np.log([_SMALL, _LARGE]), [_RATING_SHARE_SMALL, _RATING_SHARE_LARGE]
    )
    most = int(_FULLEST * seen)
    raters = max(round(share * users), -(-ratings * 5 // (most * 4)))  # room to differ in length
    orphans = max(1, round(_ORPHAN_USERS * raters))
    total = users + orphans
    span = max(_HIGHEST_USER_ID, int(_ID_GAPS * total))
    others = rng.choice(span - len(KNOWN_USERS), total - len(KNOWN_USERS), replace=False) + 1
    for user in KNOWN_USERS:  # in rising order: each is left out of what was drawn
        others[others >= user] += 1
    ids = np.sort(np.append(others, KNOWN_USERS))
    known = np.searchsorted(ids, KNOWN_USERS)
    rest = rng.permutation(np.delete(np.arange(total), known))[: raters - len(known)]
    listed = np.ones(total, dtype=np.bool_)
    listed[rest[:orphans]] = False
    own = min(most, max(KNOWN_HISTORY, ratings // raters))
    rows = np.append(rest, known)
    others_own = lengths(len(rest), ratings - len(known) * own, most, rng)
    lists = np.append(others_own, np.full(len(known), own))
    order = np.argsort(rows)
    names = user_details.quoted(usernames(total, rng))
    return _Users(ids, names, listed, rows[order], lists[order])


def _rate(community: Community, users: _Users, seed: np.random.SeedSequence) -> Ratings:
    """All ratings, by user and anime; the rows of both are those of everyone."""
    step = max(1, _CHUNK_CELLS // len(community.quality))
    starts = range(0, len(users.raters), step)

    def work(start: int, own: np.random.SeedSequence) -> tuple[npt.NDArray[Any], ...]:
        raters = users.raters[start : start + step]
        made = community.lists(users.lengths[start : start + step], np.random.default_rng(own))
        return raters[made.user_row].astype(np.int32), made.anime_row, made.liking

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(work, starts, seed.spawn(len(starts))))
    user_row, anime_row, liking = (np.concatenate(parts) for parts in zip(*made, strict=True))
    rating = np.searchsorted(cuts(liking), liking).astype(np.int8) + np.int8(1)
    return Ratings(user_row, anime_row, rating)


def _write_ratings(path: Path, rated: Ratings, users: _Users, catalogue: InventedAnime) -> None:
    titles = user_details.quoted([title.romanised for title in catalogue.titles])
    user_ids, anime_ids = (pa.array(ids).cast(pa.string()) for ids in (users.ids, catalogue.ids))
    values = pa.array([str(value) for value in range(11)])
    with files.whole(path) as scratch, scratch.open("wb") as stream:
        stream.write(_HEADER)
        for user, anime, rating in _slices(rated):
            stream.write(
                user_details.lines(
                    [
                        user_ids.take(user),
                        users.names.take(user),
                        anime_ids.take(anime),
                        titles.take(anime),
                        values.take(rating),
                    ]
                )
            )


def _slices(rated: Ratings, rows: int = 1 << 20) -> Iterator[tuple[pa.Array, ...]]:
    columns = [pa.array(column) for column in (rated.user_row, rated.anime_row, rated.rating)]
    for start in range(0, len(rated), rows):
        yield tuple(column.slice(start, rows) for column in columns)


def _write_anime(
    path: Path, rated: Ratings, catalogue: InventedAnime, rng: np.random.Generator
) -> None:
    size = len(catalogue.ids)
    counts = np.bincount(rated.anime_row, minlength=size)
    sums = np.bincount(rated.anime_row, rated.rating, minlength=size)
    overall = float(rated.rating.mean())
    # Few ratings tell little: the mean of an anime begins at that of all, with their weight.
    catalogue.write(path, counts, (sums + 3 * overall) / (counts + 3), rng)


def _write_users(
    path: Path, rated: Ratings, users: _Users, catalogue: InventedAnime, rng: np.random.Generator
) -> None:
    size, listed = len(users.ids), users.listed
    days = catalogue.episodes * catalogue.minutes / (24 * 60)

    def of_list(weights: npt.NDArray[np.generic] | None) -> npt.NDArray[np.float64]:
        return np.bincount(rated.user_row, weights, minlength=size)[listed].astype(np.float64)

    counts = of_list(None)
    activity = user_details.Activity(
        of_list(days[rated.anime_row]),
        of_list(rated.rating) / np.maximum(counts, 1),
        counts,
        of_list(catalogue.episodes[rated.anime_row]),
    )
    user_details.write(path, users.ids[listed], users.names.filter(pa.array(listed)), activity, rng)
