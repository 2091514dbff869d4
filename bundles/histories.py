"""What the users a bundle knows have watched."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles.catalogue import load

FILES = ("user_id.npy", "offsets.npy", "anime_id.npy", "rating.npy")


class Histories:
    """The known users and their histories, as one row of values with offsets.

    user_id: int64[U] ascending; offsets: int64[U + 1]; anime_id: int32[T];
    rating: int8[T], 1 to 10, 0 = watched and not rated.
    """

    def __init__(self, folder: Path) -> None:
        """Open the histories in `folder`; raises BundleError where its arrays do not fit."""
        self.user_id: NDArray[np.int64] = load(folder / "user_id.npy", np.int64)
        self._offsets: NDArray[np.int64] = load(folder / "offsets.npy", np.int64)
        self._anime_id: NDArray[np.int32] = load(folder / "anime_id.npy", np.int32)
        self._rating: NDArray[np.int8] = load(folder / "rating.npy", np.int8)
        if np.any(np.diff(self.user_id) <= 0):
            raise BundleError(f"{folder / 'user_id.npy'}: should be ascending ids")
        if len(self._offsets) != len(self.user_id) + 1:
            raise BundleError(
                f"{folder / 'offsets.npy'}: {len(self._offsets)} entries, "
                f"{len(self.user_id)} users need {len(self.user_id) + 1}"
            )
        whole = self._offsets[0] == 0 and self._offsets[-1] == len(self._anime_id)
        if not whole or np.any(np.diff(self._offsets) < 0):
            raise BundleError(
                f"{folder / 'offsets.npy'}: should ascend from 0 to {len(self._anime_id)}"
            )
        if len(self._rating) != len(self._anime_id):
            raise BundleError(
                f"{folder / 'rating.npy'}: {len(self._rating)} entries, "
                f"anime_id.npy has {len(self._anime_id)}"
            )

    def __contains__(self, user_id: int) -> bool:
        return self._row(user_id) >= 0

    def of(self, user_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The user's history: int64[H] ids and float32[H] ratings (NaN = not rated)."""
        row = self._row(user_id)
        span = slice(*self._offsets[row : row + 2].tolist()) if row >= 0 else slice(0, 0)
        ratings = self._rating[span].astype(np.float32)
        ratings[ratings == 0] = np.nan
        return self._anime_id[span].astype(np.int64), ratings

    def _row(self, user_id: int) -> int:
        row = int(np.searchsorted(self.user_id, user_id))
        return row if row < len(self.user_id) and self.user_id[row] == user_id else -1
