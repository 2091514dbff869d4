"""What models are tried on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anirank.errors import DataError
from training.splits import Split
from training.tables.preparation import read_ratings
from training.tables.tables import Ratings, Tables

# As many of the users are asked about at most, drawn at random: more hardly narrow the intervals.
ASKED_USERS = 5_000


def asked_users(ratings: Ratings) -> np.ndarray:
    """Rows of the users of whom models are asked to rank and to rate, int64[n], ascending."""
    users = np.unique(ratings.user_row).astype(np.int64)
    return np.sort(np.random.default_rng(0).permutation(users)[:ASKED_USERS])


@dataclass(frozen=True)
class HeldOut:
    """Ratings that no model was fitted on.

    `listed`: bool[A], the anime that lists are made of; `left_out`: int64[n], rows of the tables'
    ratings whose anime a user's list is made without: all that the user is known to have rated and
    is not asked for. They are more than the history, which is what models are told.
    """

    ratings: Ratings
    described: str
    listed: np.ndarray
    left_out: np.ndarray

    @classmethod
    def test_rows(cls, tables: Tables, parts: Split) -> "HeldOut":
        """The test rows of a split."""
        listed = parts.listed("test", len(tables.anime))
        return cls(tables.ratings.at(parts.test), "test rows", listed, parts.left_out("test"))

    @classmethod
    def validation_rows(cls, tables: Tables, parts: Split) -> "HeldOut":
        """The validation rows of a split, asked for in ignorance of its test rows."""
        listed, left_out = (
            parts.listed("validation", len(tables.anime)),
            parts.left_out("validation"),
        )
        return cls(tables.ratings.at(parts.validation), "validation rows", listed, left_out)

    @classmethod
    def of_file(cls, file: Path, tables: Tables, parts: Split) -> "HeldOut":
        """A file's ratings without those a model was fitted on or is told of. Raises DataError."""
        held, _ = read_ratings(file, tables)
        anime = len(tables.anime)
        pairs = _pairs(tables.ratings, anime)
        asked = _pairs(held, anime)
        is_new = ~np.isin(asked, pairs[parts.known])
        if not is_new.any():
            raise DataError(f"{file.name}: every one of its {len(held):,} ratings was trained on")
        known = len(held) - int(is_new.sum())
        described = f"{file.name} ({known:,} known ones left out)" if known else file.name
        left_out = np.flatnonzero(~np.isin(pairs, asked[is_new]))
        everything = np.ones(anime, dtype=np.bool_)
        return cls(held.at(np.flatnonzero(is_new)), described, everything, left_out)


def _pairs(ratings: Ratings, anime: int) -> np.ndarray:
    return np.asarray(ratings.user_row.astype(np.int64) * anime + ratings.anime_row)
