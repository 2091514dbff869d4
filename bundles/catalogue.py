"""The anime a bundle can rank."""

from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import arrays

# MyAnimeList's are below 100,000; a table of this many ids takes 64 MiB.
HIGHEST_ID = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The anime of a bundle, by ascending id.

    anime_id: int64[A], MyAnimeList ids; titles, types: A texts; genres: A texts, each the genres of
    an anime, joined by ", "; adult: bool[A]. by_id: int32[largest id + 2], by id the place of an
    anime among them, counted from 1; 0 where there is none. Raises ValueError where these do not
    fit each other.
    """

    FILES: ClassVar = ("anime_id.npy", "title.npy", "genres.npy", "type.npy", "adult.npy")

    anime_id: NDArray[np.int64]
    titles: list[str]
    genres: list[str]
    types: list[str]
    adult: NDArray[np.bool_]
    by_id: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        columns: tuple[Sized, ...] = (self.titles, self.genres, self.types, self.adult)
        for name, column in zip(self.FILES[1:], columns, strict=True):
            if len(column) != len(self):
                raise ValueError(f"{name}: {len(column)} entries, anime_id.npy has {len(self)}")
        if not len(self) or self.anime_id[0] < 1 or np.any(np.diff(self.anime_id) <= 0):
            raise ValueError("anime_id.npy: should be ascending ids above 0")
        if self.anime_id[-1] > HIGHEST_ID:
            raise ValueError(f"anime_id.npy: has {self.anime_id[-1]}, at most {HIGHEST_ID} is read")
        places = np.zeros(int(self.anime_id[-1]) + 2, np.int32)
        places[self.anime_id] = np.arange(1, len(self) + 1)
        object.__setattr__(self, "by_id", places)

    @classmethod
    def read(cls, folder: Path) -> "Catalogue":
        """The catalogue in `folder`; raises BundleError where its files do not hold one."""
        try:
            return cls(
                anime_id=arrays.load(folder / "anime_id.npy", np.int64),
                titles=arrays.load_texts(folder / "title.npy"),
                genres=arrays.load_texts(folder / "genres.npy"),
                types=arrays.load_texts(folder / "type.npy"),
                adult=arrays.load(folder / "adult.npy", np.bool_),
            )
        except ValueError as error:
            raise BundleError(f"{folder}/{error}") from error

    def write(self, folder: Path) -> None:
        """Write the catalogue to `folder`, a new one."""
        folder.mkdir()
        arrays.save(folder / "anime_id.npy", self.anime_id, np.int64)
        arrays.save_texts(folder / "title.npy", self.titles)
        arrays.save_texts(folder / "genres.npy", self.genres)
        arrays.save_texts(folder / "type.npy", self.types)
        arrays.save(folder / "adult.npy", self.adult, np.bool_)

    def __len__(self) -> int:
        return len(self.anime_id)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where each id of int64[N] stands in the catalogue, -1 where it does not."""
        # An id below 0 is a very large one of those without a sign.
        beyond = np.uint64(len(self.by_id) - 1)
        places = self.by_id[np.minimum(ids.astype(np.int64).view(np.uint64), beyond)]
        return places.astype(np.intp) - 1
