"""Tables that grow: ratings, users and anime that came after they were made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.tables.preparation import read_anime, read_users
from training.tables.ratings_file import RatingsReader
from training.tables.refusals import Refusals
from training.tables.tables import (
    ANIME_SCHEMA,
    USERS_SCHEMA,
    Ratings,
    Tables,
    arrow_table,
    frame,
)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Growth:
    """Tables before and after: a rating stands in the same row, new ones stand behind all others.

    ``anime_rows``: int64[A], where each anime of before stands now; ``replaced``: how many ratings
    of before are other ones now, or were given again; ``refusals``: of the files that came.
    """

    before: Tables
    tables: Tables
    anime_rows: Rows
    replaced: int
    refusals: Refusals

    @property
    def new(self) -> Rows:
        """Rows of the ratings that were not there before, int64[n]."""
        return np.arange(len(self.before.ratings), len(self.tables.ratings))

    @property
    def counts(self) -> dict[str, int]:
        """How many ratings, users and anime are new, and how many ratings were replaced."""
        return {
            "ratings": len(self.new),
            "replaced": self.replaced,
            "users": len(self.tables.users) - len(self.before.users),
            "anime": len(self.tables.anime) - len(self.before.anime),
        }

    def __str__(self) -> str:
        new = self.counts
        return (
            f"new ratings: {new['ratings']:,}, users: {new['users']:,}, anime: {new['anime']:,}; "
            f"ratings replaced: {new['replaced']:,}"
        )


def grown(
    tables: Tables,
    ratings_file: Path,
    anime_file: Path | None = None,
    users_file: Path | None = None,
) -> Growth:
    """Take in new ratings, the new anime of a catalogue, and details of new users.

    A rater who is not among the users becomes one; an anime in neither catalogue is refused. What
    is known of anime and users already is left as it is. A rating of a pair that has one replaces
    it. DataError as in ``prepare``.
    """
    refusals, digests = Refusals(), [tables.fingerprint]
    anime = arrow_table(tables.anime, ANIME_SCHEMA)
    users = arrow_table(tables.users, USERS_SCHEMA)
    if anime_file is not None:
        found, digest = read_anime(anime_file, refusals)
        anime = joined(anime, found, "anime_id")
        digests.append(digest)
    if users_file is not None:
        found, digest = read_users(users_file, refusals)
        users = joined(users, found, "user_id")
        digests.append(digest)
    anime_ids = anime["anime_id"].to_numpy()
    reader = RatingsReader(users["user_id"].to_numpy(), anime_ids, orphans=True)
    came, digest = reader.read(Path(ratings_file))
    digests.append(digest)
    refusals.merge(reader.refusals)
    users = joined(users, pa.table({"user_id": reader.user_ids}), "user_id")
    anime_rows = np.searchsorted(anime_ids, tables.anime["anime_id"].to_numpy())
    user_rows = np.searchsorted(reader.user_ids, tables.users["user_id"].to_numpy())
    was = tables.ratings
    moved = Ratings(
        user_rows[was.user_row].astype(np.int32),
        anime_rows[was.anime_row].astype(np.int32),
        was.rating,
    )
    ratings, again = replaced(moved, came, len(anime_ids))
    every = Refusals()
    every.merge(tables.refusals)
    every.merge(refusals)
    after = replace(
        tables,
        anime=frame(anime, ANIME_SCHEMA),
        users=frame(users, USERS_SCHEMA),
        ratings=ratings,
        fingerprint=hashlib.sha256("".join(digests).encode()).hexdigest(),
        refusals=every,
    )
    return Growth(tables, after, anime_rows, again, refusals)


def joined(there: pa.Table, more: pa.Table, key: str) -> pa.Table:
    """Those there, and those of `more` whose id is not among them, sorted by id."""
    new = ~np.isin(more[key].to_numpy(), there[key].to_numpy())
    return pa.concat_tables([there, more.filter(pa.array(new))], promote_options="default").sort_by(
        key
    )


def replaced(was: Ratings, came: Ratings, anime: int) -> tuple[Ratings, int]:
    """All ratings, new pairs behind, and how many pairs were there; `anime`: in the catalogue."""
    pairs, others = (each.user_row * np.int64(anime) + each.anime_row for each in (was, came))
    order = np.argsort(others)
    again = np.flatnonzero(np.isin(pairs, others))
    source = order[np.searchsorted(others[order], pairs[again])]
    rating = was.rating.copy()
    rating[again] = came.rating[source]
    new = np.ones(len(came), dtype=np.bool_)
    new[source] = False
    ratings = Ratings(
        np.concatenate([was.user_row, came.user_row[new]]),
        np.concatenate([was.anime_row, came.anime_row[new]]),
        np.concatenate([rating, came.rating[new]]),
    )
    return ratings, len(again)
