"""Groups that a figure is taken apart by: the user's history, and how popular the anime is."""

from dataclasses import dataclass

import numpy as np

# Ratings in the history that a request brings, and from how many on each group is.
HISTORIES = {"0 to 19": 0, "20 to 99": 20, "100 or more": 100}
# Of the training ratings, from the most rated anime on: each holds a third.
POPULARITIES = ("head", "middle", "tail")
GROUPS = (*HISTORIES, *POPULARITIES)


@dataclass(frozen=True)
class Breakdown:
    """`of_user`: int64[U], place in `HISTORIES`; `of_anime`: int64[A], place in `POPULARITIES`."""

    of_user: np.ndarray
    of_anime: np.ndarray

    @classmethod
    def of(cls, lengths: np.ndarray, popularity: np.ndarray) -> "Breakdown":
        """lengths: int64[U], of the histories; popularity: int64[A], training ratings.

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
        return cls(of_user, of_anime)

    def groups(self, user: np.ndarray, anime: np.ndarray) -> dict[str, np.ndarray]:
        """Which of the pairs of rows, int64[n] each, are of each group, bool[n]."""
        found = {name: self.of_user[user] == place for place, name in enumerate(HISTORIES)}
        found |= {name: self.of_anime[anime] == place for place, name in enumerate(POPULARITIES)}
        return found
