"""The cut of the ratings into training, validation and test rows, by one of several rules."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from anirank.errors import DataError
from training.tables.tables import Tables

Shares = tuple[float, float, float]  # of training, validation and test
# What is held out: ratings of every user, users or anime whole, or nothing.
Rule = Literal["ratings", "users", "anime", "none"]

# Of the ratings of a user who is held out; the others come with the request.
ASKED_OF_A_HELD_OUT_USER = 0.2


def _none() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """Rows of `Tables.ratings`, int64 each, disjoint.

    `history`: what held-out users bring along in their requests, which nothing is fitted on.
    `held_anime`: of the catalogue's rows, int64 each, those held out whole for validation and for
    test, among which alone the lists are then made; None: lists are made of the whole catalogue.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    history: np.ndarray = field(default_factory=_none)
    held_anime: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def known(self) -> np.ndarray:
        """What a request's history is made of: training rows and `history`, int64, ascending."""
        return np.sort(np.concatenate([self.train, self.history]))

    def left_out(self, part: Literal["validation", "test"]) -> np.ndarray:
        """What lists for a part are made without, int64, ascending: all that is known but the part.

        Whoever validates is not to know the test rows. Whoever tests knows those of validation,
        which nothing is told of but which no list should be blamed for.
        """
        if part == "validation":
            return self.known
        return np.sort(np.concatenate([self.known, self.validation]))

    def listed(self, part: Literal["validation", "test"], anime: int) -> np.ndarray:
        """Which of the catalogue's `anime` rows the lists of a part are made of, bool[A]."""
        if self.held_anime is None:
            return np.ones(anime, dtype=np.bool_)
        chosen = self.held_anime[0 if part == "validation" else 1]
        return np.isin(np.arange(anime), chosen)


def split(tables: Tables, rule: Rule, shares: Shares, seed: int) -> Split:
    """Cut all ratings by a rule; "none" trains on all of them.

    The same tables, rule and seed give the same rows. Raises DataError where a part is empty.
    """
    if rule == "none":
        return Split(np.arange(len(tables.ratings)), _none(), _none())
    rules = {"ratings": split_by_user, "users": split_users, "anime": split_anime}
    parts = rules[rule](tables, shares, seed)
    if not min(len(parts.train), len(parts.validation), len(parts.test)):
        raise DataError(
            f"{len(tables.ratings)} ratings are too few to train, validate and test by {rule}"
        )
    return parts


def split_by_user(tables: Tables, shares: Shares, seed: int) -> Split:
    """Cut each user's ratings at random.

    A user of few ratings keeps the first for training. The same tables and seed give the same rows.
    """
    place = _places(tables, np.random.default_rng(seed))
    part = np.searchsorted(np.cumsum(shares)[:2], place, side="right")
    train, validation, test = (np.flatnonzero(part == each) for each in range(3))
    return Split(train, validation, test)


def split_users(tables: Tables, shares: Shares, seed: int) -> Split:
    """Cut the users: of those held out, a fifth of each one's ratings is asked for, at random.

    A held-out user of one or two ratings is asked for none.
    """
    rng = np.random.default_rng(seed)
    user = tables.ratings.user_row
    part = _cut(np.unique(user), len(tables.users), shares, rng)[user]
    asked = _places(tables, rng) >= 1 - ASKED_OF_A_HELD_OUT_USER
    validation, test = (np.flatnonzero((part == each) & asked) for each in (1, 2))
    history = np.flatnonzero((part > 0) & ~asked)
    return Split(np.flatnonzero(part == 0), validation, test, history)


def split_anime(tables: Tables, shares: Shares, seed: int) -> Split:
    """Cut the anime that were rated; users without a training rating are asked for nothing."""
    user, anime = tables.ratings.user_row, tables.ratings.anime_row
    part = _cut(np.unique(anime), len(tables.anime), shares, np.random.default_rng(seed))
    of_rating = part[anime]
    train = np.flatnonzero(of_rating == 0)
    has_history = np.bincount(user[train], minlength=len(tables.users))[user] > 0
    validation, test = (np.flatnonzero((of_rating == each) & has_history) for each in (1, 2))
    held_anime = (np.flatnonzero(part == 1), np.flatnonzero(part == 2))
    return Split(train, validation, test, held_anime=held_anime)


def _places(tables: Tables, rng: np.random.Generator) -> np.ndarray:
    """Where each rating stands in a random order of its user's, as a share, float64[R]."""
    user = tables.ratings.user_row
    order = np.lexsort((rng.random(len(user)), user))
    counts = np.bincount(user, minlength=len(tables.users))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(user))
    place[order] = (np.arange(len(user)) - starts + 0.5) / np.repeat(counts, counts)
    return place


def _cut(chosen: np.ndarray, rows: int, shares: Shares, rng: np.random.Generator) -> np.ndarray:
    """The part of each of `rows`, int8: the chosen ones in 0, 1 or 2 at random, others -1."""
    part = np.full(rows, -1, dtype=np.int8)
    ends = np.round(np.cumsum(shares) * len(chosen)).astype(int)
    part[rng.permutation(chosen)] = np.searchsorted(ends[:2], np.arange(len(chosen)), side="right")
    return part
