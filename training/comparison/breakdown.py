"""Groups that a figure is taken apart by: users' histories and genders, how popular an anime is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Ratings in the history that a request brings, and from how many on each group is.
HISTORIES = {"0 to 19": 0, "20 to 99": 20, "100 or more": 100}
# Of the training ratings, from the most rated anime on: each holds a third.
POPULARITIES = ("head", "middle", "tail")
GROUPS = (*HISTORIES, *POPULARITIES)
# As users state it; whatever else stands there counts as not stated.
GENDERS = {"female": "Female", "male": "Male", "non-binary": "Non-Binary"}
NOT_STATED = "gender not stated"
BY_GENDER = (*GENDERS, NOT_STATED)


@dataclass(frozen=True)
class Breakdown:
    """`of_user`: int64[U], place in `HISTORIES`; `of_anime`: int64[A], place in `POPULARITIES`;
    `of_gender`: int64[U], place in `BY_GENDER`."""

    of_user: np.ndarray
    of_anime: np.ndarray
    of_gender: np.ndarray

    @classmethod
    def of(
        cls, lengths: np.ndarray, popularity: np.ndarray, genders: Sequence[str | None]
    ) -> "Breakdown":
        """lengths: int64[U], of the histories; popularity: int64[A], training ratings; genders: as
        each user states it.

        The anime that the head ends in belongs to it, and so on; an unrated anime is of the tail.
        """
        starts = list(HISTORIES.values())
        of_user = np.searchsorted(starts, lengths, side="right") - 1
        order = np.argsort(-popularity, kind="stable")
        before = np.cumsum(popularity[order]) - popularity[order]
        parts = len(POPULARITIES)
        of_anime = np.full(len(popularity), parts - 1)
        rated = popularity[order] > 0
        of_anime[order[rated]] = before[rated] * parts // popularity.sum()
        place = {text: at for at, text in enumerate(GENDERS.values())}
        of_gender = np.array([place.get(each or "", len(place)) for each in genders], np.int64)
        return cls(of_user, of_anime, of_gender)

    @property
    def of_users(self) -> dict[str, np.ndarray]:
        """Which users are of each group of users, bool[U]."""
        found = {name: self.of_user == place for place, name in enumerate(HISTORIES)}
        return found | {name: self.of_gender == place for place, name in enumerate(BY_GENDER)}

    def groups(self, user: np.ndarray, anime: np.ndarray) -> dict[str, np.ndarray]:
        """Which of the pairs of rows, int64[n] each, are of each group, bool[n]."""
        found = {name: of[user] for name, of in self.of_users.items()}
        found |= {name: self.of_anime[anime] == place for place, name in enumerate(POPULARITIES)}
        return found
