"""Raters of whom there are no details."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.tables.tables import Tables, detailed


@dataclass(frozen=True)
class Orphans:
    """How many ``users`` rate of whom nothing is stated, and how many ``ratings`` are theirs.

    ``everybody``: whether they are all who rate, as without the file of the users' details.
    """

    users: int
    ratings: int
    everybody: bool

    @classmethod
    def of(cls, tables: Tables) -> Orphans:
        """Count them in tables, read or loaded."""
        counts = np.bincount(tables.ratings.user_row, minlength=len(tables.users))
        orphans = ~detailed(tables.users) & (counts > 0)
        users, raters = int(orphans.sum()), int((counts > 0).sum())
        return cls(users, int(counts[orphans].sum()), users == raters)

    def __str__(self) -> str:
        if self.everybody:
            return f"No users' details: {self.users:,} raters, kept with nothing stated"
        return f"Orphans, kept with nothing stated: {self.users:,} raters, {self.ratings:,} ratings"
