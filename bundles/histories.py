"""What the users a bundle knows have watched."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import arrays


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """The known users and their histories, as one row of values with offsets.

    user_id: int64[U], ascending; offsets: int64[U + 1]: the history of user i is what stands at
    offsets[i] up to offsets[i + 1]; anime_id: int32[T]; rating: int8[T], 1 to 10, 0 = watched and
    not rated. Raises ValueError where these do not fit each other.
    """

    FILES: ClassVar = ("user_id.npy", "offsets.npy", "anime_id.npy", "rating.npy")

    user_id: NDArray[np.int64]
    offsets: NDArray[np.int64]
    anime_id: NDArray[np.int32]
    rating: NDArray[np.int8]

    def __post_init__(self) -> None:
        users, items = len(self.user_id), len(self.anime_id)
        if np.any(np.diff(self.user_id) <= 0):
            raise ValueError("user_id.npy: should be ascending ids")
        if len(self.offsets) != users + 1:
            raise ValueError(
                f"offsets.npy: {len(self.offsets)} entries, {users} users need {users + 1}"
            )
        whole = self.offsets[0] == 0 and self.offsets[-1] == items
        if not whole or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets.npy: should ascend from 0 to {items}")
        if len(self.rating) != items:
            raise ValueError(f"rating.npy: {len(self.rating)} entries, anime_id.npy has {items}")

    @classmethod
    def read(cls, folder: Path) -> "Histories":
        """The histories in `folder`; raises BundleError where its files do not hold any."""
        try:
            return cls(
                user_id=arrays.load(folder / "user_id.npy", np.int64),
                offsets=arrays.load(folder / "offsets.npy", np.int64),
                anime_id=arrays.load(folder / "anime_id.npy", np.int32),
                rating=arrays.load(folder / "rating.npy", np.int8),
            )
        except ValueError as error:
            raise BundleError(f"{folder}/{error}") from error

    def write(self, folder: Path) -> None:
        """Write the histories to `folder`, a new one."""
        folder.mkdir()
        arrays.save(folder / "user_id.npy", self.user_id, np.int64)
        arrays.save(folder / "offsets.npy", self.offsets, np.int64)
        arrays.save(folder / "anime_id.npy", self.anime_id, np.int32)
        arrays.save(folder / "rating.npy", self.rating, np.int8)

    def __contains__(self, user_id: int) -> bool:
        return self._row(user_id) >= 0

    def of(self, user_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The user's history: int64[H] ids and float32[H] ratings (NaN = not rated)."""
        row = self._row(user_id)
        span = slice(*self.offsets[row : row + 2].tolist()) if row >= 0 else slice(0, 0)
        ratings = self.rating[span].astype(np.float32)
        ratings[ratings == 0] = np.nan
        return self.anime_id[span].astype(np.int64), ratings

    def length(self, user_id: int) -> int:
        """How many the user has watched; 0 for a user who is not known."""
        row = self._row(user_id)
        return int(self.offsets[row + 1] - self.offsets[row]) if row >= 0 else 0

    def _row(self, user_id: int) -> int:
        row = int(np.searchsorted(self.user_id, user_id))
        return row if row < len(self.user_id) and self.user_id[row] == user_id else -1
