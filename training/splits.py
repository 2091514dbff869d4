"""The cut of the ratings into training, validation and test rows, by one of several rules."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch

from anirank.errors import DataError, RunError
from training.run import load_tensors, save_tensors
from training.tables.growth import Growth
from training.tables.tables import Tables

Shares = tuple[float, float, float]  # of training, validation and test
# What is held out: ratings of every user, users or anime whole, or nothing.
Rule = Literal["ratings", "users", "anime", "none"]

# Of the ratings of a user who is held out; the others come with the request.
ASKED_OF_A_HELD_OUT_USER = 0.2

# How a rating's part is written down: where it stands here.
PARTS = ("train", "validation", "test", "history")
NOWHERE = -1


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

    def of_rows(self, ratings: int) -> np.ndarray:
        """The part that each of so many ratings is in, int8[R]: places in `PARTS`, or `NOWHERE`."""
        part = np.full(ratings, NOWHERE, dtype=np.int8)
        for place, name in enumerate(PARTS):
            part[getattr(self, name)] = place
        return part

    @classmethod
    def by_part(cls, part: np.ndarray, held: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """The split that `of_rows` is of, int8[R], with the anime held out."""
        train, validation, test, history = (np.flatnonzero(part == at) for at in range(len(PARTS)))
        return cls(train, validation, test, history, held)

    def save(self, file: Path, ratings: int) -> None:
        """Write a safetensors file: a split of so many ratings that no rule makes again."""
        arrays = {"part": self.of_rows(ratings)}
        if self.held_anime is not None:
            arrays |= dict(zip(_HELD, self.held_anime, strict=True))
        save_tensors(file, {name: torch.from_numpy(each) for name, each in arrays.items()})

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote. Raises RunError."""
        saved = {k: v.numpy() for k, v in load_tensors(file, torch.device("cpu"))[0].items()}
        try:
            held = (saved[_HELD[0]], saved[_HELD[1]]) if _HELD[0] in saved else None
            return cls.by_part(saved["part"], held)
        except KeyError as error:
            raise RunError(f"{file}: does not hold {error}") from None


_HELD = ("validation_anime", "test_anime")


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
    place = _places(tables.ratings.user_row, np.random.default_rng(seed))
    return Split.by_part(_cut_places(place, shares))


def split_users(tables: Tables, shares: Shares, seed: int) -> Split:
    """Cut the users: of those held out, a fifth of each one's ratings is asked for, at random.

    A held-out user of one or two ratings is asked for none.
    """
    rng = np.random.default_rng(seed)
    user = tables.ratings.user_row
    part = _cut(np.unique(user), len(tables.users), shares, rng)[user]
    asked = _places(user, rng) >= 1 - ASKED_OF_A_HELD_OUT_USER
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


def continued(cut: Split, growth: Growth, rule: Rule, shares: Shares, seed: int) -> Split:
    """The split of tables that have grown: what was held out before still is.

    The ratings that are new are cut by the rule, as are users and anime that had no rating. A user
    or an anime that was held out, or trained on, stays so.
    """
    tables, new = growth.tables, growth.new
    if rule == "none":
        return Split(np.arange(len(tables.ratings)), _none(), _none())
    part = np.append(cut.of_rows(len(growth.before.ratings)), np.zeros(len(new), dtype=np.int8))
    # Another one each time: a seed cuts alike what is as long.
    rng = np.random.default_rng([seed, len(tables.ratings)])
    place, held = _places(tables.ratings.user_row[new], rng), None
    if rule == "ratings":
        part[new] = _cut_places(place, shares)
    elif rule == "users":
        part[new] = _of_held_users(part, place, growth, shares, rng)
    else:
        part[new], held = _of_held_anime(part, cut, growth, shares, rng)
    return Split.by_part(part, held)


def _of_held_users(
    part: np.ndarray, place: np.ndarray, growth: Growth, shares: Shares, rng: np.random.Generator
) -> np.ndarray:
    """The part of each new rating, int8[n]; `place`: float64[n], as `_places` makes it."""
    user, before = growth.tables.ratings.user_row, len(growth.before.ratings)
    # A user of whom nothing is asked yet was held out for one of the two; it matters no more which.
    held_for = {"train": 0, "history": 2, "validation": 1, "test": 2}
    of_user = np.full(len(growth.tables.users), NOWHERE, dtype=np.int8)
    for name, cut in held_for.items():
        of_user[user[:before][part[:before] == PARTS.index(name)]] = cut
    others = np.unique(user[of_user[user] == NOWHERE])
    of_user[others] = _cut(others, len(of_user), shares, rng)[others]
    of_new = of_user[user[growth.new]]
    told = (of_new > 0) & (place < 1 - ASKED_OF_A_HELD_OUT_USER)
    return np.where(told, PARTS.index("history"), of_new)


def _of_held_anime(
    part: np.ndarray, before: Split, growth: Growth, shares: Shares, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The part of each new rating, int8[n], and the anime held out."""
    ratings, old = growth.tables.ratings, len(growth.before.ratings)
    of_anime = np.full(len(growth.tables.anime), NOWHERE, dtype=np.int8)
    of_anime[ratings.anime_row[:old]] = 0
    for cut, held in enumerate(before.held_anime or (), start=1):
        of_anime[growth.anime_rows[held]] = cut
    others = np.unique(ratings.anime_row[of_anime[ratings.anime_row] == NOWHERE])
    of_anime[others] = _cut(others, len(of_anime), shares, rng)[others]
    of_new = of_anime[ratings.anime_row[growth.new]]
    trained = np.concatenate([part[:old] == 0, of_new == 0])
    has_history = np.bincount(ratings.user_row[trained], minlength=len(growth.tables.users)) > 0
    asked = has_history[ratings.user_row[growth.new]]
    of_new = np.where((of_new == 0) | asked, of_new, NOWHERE)
    return of_new, (np.flatnonzero(of_anime == 1), np.flatnonzero(of_anime == 2))


def _places(user: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where each rating, of the users at int32[n], stands in a random order of its user's, as a
    share, float64[n]."""
    order = np.lexsort((rng.random(len(user)), user))
    counts = np.bincount(user)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(user))
    place[order] = (np.arange(len(user)) - starts + 0.5) / np.repeat(counts, counts)
    return place


def _cut_places(place: np.ndarray, shares: Shares) -> np.ndarray:
    """The part of each place, as `_places` makes it: 0, 1 or 2, int64[n]."""
    return np.searchsorted(np.cumsum(shares)[:2], place, side="right")


def _cut(chosen: np.ndarray, rows: int, shares: Shares, rng: np.random.Generator) -> np.ndarray:
    """The part of each of `rows`, int8: the chosen ones in 0, 1 or 2 at random, others -1."""
    part = np.full(rows, -1, dtype=np.int8)
    ends = np.round(np.cumsum(shares) * len(chosen)).astype(int)
    part[rng.permutation(chosen)] = np.searchsorted(ends[:2], np.arange(len(chosen)), side="right")
    return part
