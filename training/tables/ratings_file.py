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
_NOWHERE = -1

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
    "orphan user": lambda user, _a, _r: f"user_id {user} is not among the users",
    "orphan anime": lambda _u, anime, _r: f"anime_id {anime} is not in the anime file",
}


@dataclass
class RatingsReader:
    """Reads a ratings file against a catalogue and its users.

    ``user_ids``: int32[U] and ``anime_ids``: int32[A], each increasing; a row of the result
    points into them. ``orphans``: whether a rater who is not among the users becomes one, and
    ``user_ids`` then holds them too once the file is read.
    """

    user_ids: npt.NDArray[np.int32]
    anime_ids: npt.NDArray[np.int32]
    orphans: bool = False
    longest_row: int = LONGEST_ROW
    refusals: Refusals = field(default_factory=Refusals)

    def read(self, path: Path) -> tuple[Ratings, str]:
        """The usable ratings in the order of the file, and the SHA-256 of its bytes.

        Everything else is counted in ``refusals``. DataError as in ``CsvFile.pieces``, and where
        no rating is left.
        """
        file = CsvFile(path, _COLUMNS, longest_row=self.longest_row)
        users, anime = _Places(self.user_ids), _Places(self.anime_ids)
        kept = [self._usable(piece, file, users, anime) for piece in file.pieces()]
        # Only now is it known which raters there are, and so where in the order of ids each stands.
        self.user_ids, rows = users.sorted()
        for place, _, _ in kept:
            place[:] = rows[place]
        ratings = Ratings(*(np.concatenate(arrays) for arrays in zip(*kept, strict=True)))
        del kept  # as large as what was made of it
        ratings = self._distinct(ratings, path.name)
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
        known_users: _Places,
        known_anime: _Places,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        count_malformed(self.refusals, file, [piece])
        users, users_read = parsers.whole_numbers(piece.table.column("user_id"))
        anime, anime_read = parsers.whole_numbers(piece.table.column("anime_id"))
        rating, rating_read = parsers.whole_numbers(piece.table.column("rating"))
        user_row, anime_row = known_users.of(users), known_anime.of(anime)
        kept = np.ones(len(rating), dtype=np.bool_)
        faults = (
            ~(users_read & anime_read),
            ~(_in_range(users) & _in_range(anime)),
            ~rating_read,
            (rating < LOWEST) | (rating > HIGHEST),
            (user_row == _NOWHERE) & (not self.orphans),
            anime_row == _NOWHERE,
        )
        for reason, fault in zip(_REASONS, faults, strict=True):
            refused = np.flatnonzero(fault & kept)
            if len(refused):
                self._refuse(piece, file.path.name, reason, refused)
                kept[refused] = False
        new = kept & (user_row == _NOWHERE)
        if new.any():
            known_users.add(users[new])
            user_row[new] = known_users.of(users[new])
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


class _Places:
    """The place of each id in the order in which they were added."""

    def __init__(self, ids: npt.NDArray[np.int32]) -> None:
        # One entry for every id there may be, and one on either side that is never taken. Pages of
        # zeros that nothing is written to take no memory.
        self._place_from_1 = np.zeros(MOST_ID + 2, dtype=np.int32)
        self._ids = np.empty(0, dtype=np.int32)
        self.add(ids)

    def add(self, ids: npt.NDArray[Any]) -> None:
        """Give a place to ids that have none, in any order, repeated or not; all in 1..MOST_ID."""
        new = np.unique(ids).astype(np.int32)
        first = len(self._ids) + 1
        self._place_from_1[new] = np.arange(first, first + len(new), dtype=np.int32)
        self._ids = np.concatenate([self._ids, new])

    def of(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """The place of each id, whatever it is; ``_NOWHERE`` where it has none."""
        return self._place_from_1.take(ids, mode="clip") - np.int32(1)

    def sorted(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The ids in increasing order, and of each place where in that order its id stands."""
        order = np.argsort(self._ids)
        ranks = np.empty_like(self._ids)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return self._ids[order], ranks
