"""What the anime of a catalogue can be filtered by, beside their ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import arrays
from bundles.catalogue import Catalogue

COLUMNS = ("genres", "types", "studios", "sources", "age_ratings")


@dataclass(frozen=True, slots=True, eq=False)
class Facets:
    """Which anime have which values, and their numbers.

    columns, values: V texts each, the column and the text of each value, no pair twice; offsets:
    int64[V + 1], rows: int32[T]: rows[offsets[v] : offsets[v + 1]] are the rows of the catalogue
    that have value v, ascending.
    years: int16[A, 2], the first and the last in which an anime was on the air; 0, 0 where they are
    not known, and 0 for the last of one that still is. episodes: int32[A], 0 where not known. Both
    are None in a bundle of before, which holds nothing of them.
    Raises ValueError where these do not fit each other.
    """

    FILES: ClassVar = (
        "column.npy",
        "value.npy",
        "offsets.npy",
        "row.npy",
        "years.npy",
        "episodes.npy",
    )

    columns: list[str]
    values: list[str]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    years: NDArray[np.int16] | None
    episodes: NDArray[np.int32] | None

    def __post_init__(self) -> None:
        count, items = len(self.values), len(self.rows)
        if len(self.columns) != count:
            raise ValueError(f"column.npy: {len(self.columns)} entries, value.npy has {count}")
        if len({*zip(self.columns, self.values, strict=True)}) < count:
            raise ValueError("value.npy: has a value of a column twice")
        if len(self.offsets) != count + 1:
            raise ValueError(
                f"offsets.npy: {len(self.offsets)} entries, {count} values need {count + 1}"
            )
        whole = self.offsets[0] == 0 and self.offsets[-1] == items
        if not whole or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets.npy: should ascend from 0 to {items}")

    @classmethod
    def of(
        cls,
        columns: Mapping[str, Sequence[Sequence[str]]],
        years: NDArray[np.int16] | None,
        episodes: NDArray[np.int32] | None,
    ) -> "Facets":
        """The facets of A anime; columns: by name, the values of each anime."""
        names: list[str] = []
        values: list[str] = []
        rows: list[list[int]] = []
        for column, of in columns.items():
            found: dict[str, list[int]] = {}
            for row, each in enumerate(of):
                for value in dict.fromkeys(each):
                    found.setdefault(value, []).append(row)
            for value in sorted(found):
                names.append(column)
                values.append(value)
                rows.append(found[value])
        return cls(
            names,
            values,
            np.cumsum([0, *map(len, rows)], dtype=np.int64),
            np.array([row for each in rows for row in each], np.int32),
            years,
            episodes,
        )

    @classmethod
    def of_catalogue(cls, catalogue: Catalogue) -> "Facets":
        """What a bundle of before lets know: genres and types."""
        genres = [each.split(", ") if each else [] for each in catalogue.genres]
        types = [[each] if each else [] for each in catalogue.types]
        return cls.of({"genres": genres, "types": types}, None, None)

    @classmethod
    def read(cls, folder: Path, anime: int) -> "Facets":
        """The facets in `folder`, of so many anime.

        Raises BundleError where its files do not hold any.
        """
        try:
            found = cls(
                columns=arrays.load_texts(folder / "column.npy"),
                values=arrays.load_texts(folder / "value.npy"),
                offsets=arrays.load(folder / "offsets.npy", np.int64),
                rows=arrays.load(folder / "row.npy", np.int32),
                years=arrays.load(folder / "years.npy", np.int16, 2),
                episodes=arrays.load(folder / "episodes.npy", np.int32),
            )
            found.check(anime)
        except ValueError as error:
            raise BundleError(f"{folder}/{error}") from error
        return found

    def write(self, folder: Path) -> None:
        """Write the facets to `folder`, a new one; raises ValueError where there are no numbers."""
        if self.years is None or self.episodes is None:
            raise ValueError("years.npy and episodes.npy: are not known")
        folder.mkdir()
        arrays.save_texts(folder / "column.npy", self.columns)
        arrays.save_texts(folder / "value.npy", self.values)
        arrays.save(folder / "offsets.npy", self.offsets, np.int64)
        arrays.save(folder / "row.npy", self.rows, np.int32)
        arrays.save(folder / "years.npy", self.years, np.int16)
        arrays.save(folder / "episodes.npy", self.episodes, np.int32)

    def check(self, anime: int) -> None:
        """Raise ValueError where these are not of so many anime."""
        if np.any(self.rows < 0) or np.any(self.rows >= anime):
            raise ValueError(f"row.npy: should be rows from 0 to {anime - 1}")
        if self.years is not None and self.years.shape != (anime, 2):
            raise ValueError(f"years.npy: {list(self.years.shape)}, should be [{anime}, 2]")
        if self.episodes is not None and len(self.episodes) != anime:
            raise ValueError(f"episodes.npy: {len(self.episodes)} entries, should be {anime}")

    def of_column(self, column: str) -> dict[str, int]:
        """The values of a column, each with its place among all."""
        return {
            value: place
            for place, (name, value) in enumerate(zip(self.columns, self.values, strict=True))
            if name == column
        }
