"""The ratings file: 24 million rows that become three arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anirank.errors import DataError
from training.tables import parsers
from training.tables.csv_files import LONGEST_ROW, CsvFile, Piece
from training.tables.refusals import EXAMPLES, Refusals
from training.tables.tables import Ratings

MOST_ID = 2**26 - 1  # the served graph holds a dense table over the ids
LOWEST, HIGHEST = 1, 10

_COLUMNS = {"user_id": pa.int32(), "anime_id": pa.int32(), "rating": pa.int8()}
_NO_ROW = -1

# Why a row is refused, first reason first, and how an example of it reads.
_REASONS: dict[str, Callable[[Any, Any, Any], str]] = {
    "unreadable id": lambda user, anime, _: (
        f"user_id {user!r}, anime_id {anime!r} are not two whole numbers"
    ),
    "id out of range": lambda user, anime, _: (
        f"user_id {user}, anime_id {anime}: an id is outside 1..{MOST_ID}"
    ),
    "unreadable rating": lambda _u, _a, rating: f"rating {rating!r} is not a whole number",
    "rating outside 1..10": lambda _u, _a, rating: f"rating {rating} is outside 1..10",
    "orphan user": lambda user, _a, _r: f"user_id {user} is not in the users file",
    "orphan anime": lambda _u, anime, _r: f"anime_id {anime} is not in the anime file",
}


@dataclass
class RatingsReader:
    """Reads a ratings file against a catalogue and its users.

    ``user_ids``: int32[U] and ``anime_ids``: int32[A], each increasing; a row of the result
    points into them.
    """

    user_ids: npt.NDArray[np.int32]
    anime_ids: npt.NDArray[np.int32]
    longest_row: int = LONGEST_ROW
    refusals: Refusals = field(default_factory=Refusals)

    def read(self, path: Path) -> tuple[Ratings, str]:
        """The usable ratings in the order of the file, and the SHA-256 of its bytes.

        Everything else is counted in ``refusals``. DataError as in ``CsvFile.pieces``, and where
        no rating is left.
        """
        file = CsvFile(path, _COLUMNS, longest_row=self.longest_row)
        user_rows, anime_rows = _row_of_id(self.user_ids), _row_of_id(self.anime_ids)
        kept = [self._usable(piece, file, user_rows, anime_rows) for piece in file.pieces()]
        arrays = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        ratings = self._distinct(Ratings(*arrays), path.name)
        if not len(ratings):
            seen = self.refusals.by_file[path.name]
            reason = max(seen, key=lambda reason: seen[reason].count)
            raise DataError(
                f"{path.name}: no usable rating; refused {self.refusals.total(path.name)}, "
                f"most for: {reason} ({seen[reason].examples[0]})"
            )
        return ratings, file.sha256.hexdigest()

    def _usable(
        self,
        piece: Piece,
        file: CsvFile,
        user_rows: npt.NDArray[np.int32],
        anime_rows: npt.NDArray[np.int32],
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        count_malformed(self.refusals, file, [piece])
        users, users_read = parsers.whole_numbers(piece.table.column("user_id"))
        anime, anime_read = parsers.whole_numbers(piece.table.column("anime_id"))
        rating, rating_read = parsers.whole_numbers(piece.table.column("rating"))
        # An id outside the table meets its first or last entry, which point nowhere.
        user_row = user_rows.take(users, mode="clip")
        anime_row = anime_rows.take(anime, mode="clip")
        kept = np.ones(len(rating), dtype=np.bool_)
        faults = (
            ~(users_read & anime_read),
            ~(_in_range(users) & _in_range(anime)),
            ~rating_read,
            (rating < LOWEST) | (rating > HIGHEST),
            user_row == _NO_ROW,
            anime_row == _NO_ROW,
        )
        for reason, fault in zip(_REASONS, faults, strict=True):
            refused = np.flatnonzero(fault & kept)
            if len(refused):
                self._refuse(piece, file.path.name, reason, refused)
                kept[refused] = False
        return user_row[kept], anime_row[kept], rating[kept].astype(np.int8)

    def _refuse(self, piece: Piece, file: str, reason: str, refused: npt.NDArray[np.int64]) -> None:
        missing = EXAMPLES - min(EXAMPLES, self.refusals.count(file, reason))
        first = refused[:missing]
        rows = piece.table.take(first).to_pylist() if missing else []
        lines = piece.lines(first.tolist()) if missing else []
        self.refusals.add(
            file,
            reason,
            len(refused),
            (
                f"line {line}: {_REASONS[reason](*(row[name] for name in _COLUMNS))}"
                for line, row in zip(lines, rows, strict=True)
            ),
        )

    def _distinct(self, ratings: Ratings, file: str) -> Ratings:
        """The first rating of each pair of user and anime."""
        pairs = ratings.user_row * np.int64(len(self.anime_ids)) + ratings.anime_row
        if np.all(pairs[1:] > pairs[:-1]):  # the order of the dump
            return ratings
        ordered = np.sort(pairs)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if not len(repeated):
            return ratings
        suspects = np.flatnonzero(np.isin(pairs, repeated))
        _, first = np.unique(pairs[suspects], return_index=True)
        refused = np.delete(suspects, first)
        examples = (
            f"user_id {self.user_ids[ratings.user_row[row]]} rates anime_id "
            f"{self.anime_ids[ratings.anime_row[row]]} again, the first rating is kept"
            for row in refused[:EXAMPLES]
        )
        self.refusals.add(file, "duplicate pair", len(refused), examples)
        kept = np.ones(len(pairs), dtype=np.bool_)
        kept[refused] = False
        return Ratings(ratings.user_row[kept], ratings.anime_row[kept], ratings.rating[kept])


def count_malformed(refusals: Refusals, file: CsvFile, pieces: list[Piece]) -> None:
    """Count the lines of a file that do not have as many fields as its header."""
    for piece in pieces:
        lost = sum(fault.lines for fault in piece.malformed)
        examples = (
            f"line {line}: {fields} fields, not {file.width}"
            for line, fields in piece.malformed_lines(EXAMPLES)
        )
        refusals.add(file.path.name, "malformed line", lost, examples)


def _in_range(ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return (ids >= 1) & (ids <= MOST_ID)


def _row_of_id(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    rows = np.full(int(ids[-1]) + 2, _NO_ROW, dtype=np.int32)
    rows[ids] = np.arange(len(ids), dtype=np.int32)
    return rows
