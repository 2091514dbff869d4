"""What a step of training hides of its users' histories, and asks for from the rest."""

from typing import NamedTuple

import numpy as np

HIDDEN = (0.05, 0.5)  # share of a history that is asked for, drawn per user
NOTHING = 0.05  # share of users who are asked for without any history


class Hidden(NamedTuple):
    """What is asked for of a batch.

    `lengths`: int64[B], anime in each history; `targets`: int64[B], how many of them are asked for;
    `shown`: bool[nnz], which are not, user after user.
    """

    lengths: np.ndarray
    targets: np.ndarray
    shown: np.ndarray

    @classmethod
    def drawn(cls, lengths: np.ndarray, rng: np.random.Generator) -> "Hidden":
        """Of histories of these lengths, int64[B], at random."""
        share = rng.uniform(*HIDDEN, size=len(lengths))
        share[rng.random(len(lengths)) < NOTHING] = 1.0
        shown = rng.random(lengths.sum()) >= np.repeat(share, lengths)
        user = np.repeat(np.arange(len(lengths)), lengths)
        return cls(lengths, np.bincount(user[~shown], minlength=len(lengths)), shown)

    def shown_of(self, users: slice) -> np.ndarray:
        """Which anime these users are not asked for, bool[n]."""
        return self.shown[_places(self.lengths, users)]

    def pairs_of(self, users: slice) -> slice:
        """Where what these users are asked for stands in all that is asked for."""
        return _places(self.targets, users)


def _places(counts: np.ndarray, users: slice) -> slice:
    start = int(counts[: users.start].sum())
    return slice(start, start + int(counts[users].sum()))
