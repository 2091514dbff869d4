"""From the CSV files of the dump to typed tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anirank.errors import DataError
from training.tables import parsers
from training.tables.csv_files import LONGEST_ROW, Sheet
from training.tables.ratings_file import MOST_ID, RatingsReader, count_malformed
from training.tables.refusals import EXAMPLES, Refusals
from training.tables.tables import (
    ANIME_SCHEMA,
    USERS_SCHEMA,
    Ratings,
    Source,
    Tables,
    frame,
    is_prepared,
)

ANIME_FILE = "anime-dataset-2023.csv"
USERS_FILE = "users-details-2023.csv"
RATINGS_FILE = "users-score-2023.csv"
# Written by `anirank synth` beside the three: their SHA-256, by which they are known again.
SYNTHETIC_FILE = "synthetic.json"

Reader = Callable[[str], Any]

# Column of a table → the file's column and how its cells are read.
_ANIME: dict[str, tuple[str, Reader]] = {
    "name": ("Name", str),
    "english_name": ("English name", parsers.text),
    "score": ("Score", parsers.number),
    "genres": ("Genres", parsers.names),
    "type": ("Type", parsers.text),
    "episodes": ("Episodes", parsers.number),
    "air_start": ("Aired", parsers.air_start),
    "air_end": ("Aired", parsers.air_end),
    "premiered": ("Premiered", parsers.text),
    "status": ("Status", parsers.text),
    "producers": ("Producers", parsers.names),
    "licensors": ("Licensors", parsers.names),
    "studios": ("Studios", parsers.names),
    "source": ("Source", parsers.text),
    "duration_minutes": ("Duration", parsers.duration),
    "age_rating": ("Rating", parsers.text),
    "rank": ("Rank", parsers.position),
    "popularity": ("Popularity", parsers.position),
    "favorites": ("Favorites", parsers.number),
    "scored_by": ("Scored By", parsers.number),
    "members": ("Members", parsers.number),
}
_USERS: dict[str, tuple[str, Reader]] = {
    "gender": ("Gender", parsers.text),
    "birthday": ("Birthday", parsers.day),
    "location": ("Location", parsers.text),
    "joined": ("Joined", parsers.day),
    "days_watched": ("Days Watched", parsers.number),
    "mean_score": ("Mean Score", parsers.number),
    "watching": ("Watching", parsers.number),
    "completed": ("Completed", parsers.number),
    "on_hold": ("On Hold", parsers.number),
    "dropped": ("Dropped", parsers.number),
    "plan_to_watch": ("Plan to Watch", parsers.number),
    "total_entries": ("Total Entries", parsers.number),
    "rewatched": ("Rewatched", parsers.number),
    "episodes_watched": ("Episodes Watched", parsers.number),
}


def prepare(data_dir: Path, longest_row: int = LONGEST_ROW) -> Tables:
    """Read the dump's CSV files in ``data_dir``; that of the users' details may be absent.

    A rater of whom there are no details is a user of whom nothing is stated. Rows and cells that
    cannot be used are counted in the result's ``refusals``. DataError if the folder or another
    file is missing, a file is empty, not UTF-8, lacks a column or has a row of more than
    ``longest_row`` bytes, or nothing usable is left of it.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such folder")
    refusals = Refusals()
    anime, anime_digest = read_anime(data_dir / ANIME_FILE, refusals, longest_row)
    users, digests = USERS_SCHEMA.empty_table(), [anime_digest]
    if (data_dir / USERS_FILE).exists():
        users, users_digest = read_users(data_dir / USERS_FILE, refusals, longest_row)
        digests.append(users_digest)
    pa.default_memory_pool().release_unused()
    listed, catalogue = users["user_id"].to_numpy(), anime["anime_id"].to_numpy()
    scores = RatingsReader(listed, catalogue, orphans=True, longest_row=longest_row)
    ratings, ratings_digest = scores.read(data_dir / RATINGS_FILE)
    users = _with_orphans(users, scores.user_ids)
    pa.default_memory_pool().release_unused()
    refusals.merge(scores.refusals)
    digests.append(ratings_digest)
    return Tables(
        frame(anime, ANIME_SCHEMA),
        frame(users, USERS_SCHEMA),
        ratings,
        hashlib.sha256("".join(digests).encode()).hexdigest(),
        refusals,
        Source(data_dir.resolve().name, _is_synthetic(data_dir, digests)),
    )


def _with_orphans(users: pa.Table, ids: npt.NDArray[np.int32]) -> pa.Table:
    """The users of these ids, all of the table's and others, of whom nothing is stated."""
    others = np.setdiff1d(ids, users["user_id"].to_numpy(), assume_unique=True)
    orphans = pa.table({"user_id": others})
    return pa.concat_tables([users, orphans], promote_options="default").sort_by("user_id")


def _is_synthetic(data_dir: Path, digests: Iterable[str]) -> bool:
    """Whether one of the files at least is as `anirank synth` wrote it there."""
    try:
        written = (data_dir / SYNTHETIC_FILE).read_bytes()
    except OSError:
        return False
    return any(digest.encode() in written for digest in digests)


def load_or_prepare(path: Path) -> Tables:
    """The tables of a prepared folder, or those made from a folder of CSV files.

    DataError if ``path`` is neither, or as in ``prepare`` and ``Tables.load``.
    """
    path = Path(path)
    if is_prepared(path):
        return Tables.load(path)
    if path.is_dir() and not any(
        (path / n).exists() for n in (ANIME_FILE, USERS_FILE, RATINGS_FILE)
    ):
        raise DataError(f"{path}: neither a prepared folder nor one that holds {ANIME_FILE}")
    return prepare(path)


def read_ratings(file: Path, tables: Tables) -> tuple[Ratings, Refusals]:
    """Read another ratings file against existing tables.

    It needs the columns ``user_id``, ``anime_id`` and ``rating``; users and anime that are not
    in ``tables`` are refused. DataError as in ``prepare``.
    """
    scores = RatingsReader(tables.users["user_id"].to_numpy(), tables.anime["anime_id"].to_numpy())
    ratings, _ = scores.read(Path(file))
    return ratings, scores.refusals


def read_anime(
    file: Path, refusals: Refusals, longest_row: int = LONGEST_ROW
) -> tuple[pa.Table, str]:
    """The catalogue in a file like the dump's, by id, and the file's SHA-256.

    What cannot be used is counted in ``refusals``. DataError as in ``prepare``.
    """
    return _side_table(file, "anime_id", _ANIME, ANIME_SCHEMA, refusals, longest_row)


def read_users(
    file: Path, refusals: Refusals, longest_row: int = LONGEST_ROW
) -> tuple[pa.Table, str]:
    """The details in a file like the dump's, as ``read_anime``."""
    return _side_table(file, "Mal ID", _USERS, USERS_SCHEMA, refusals, longest_row)


def _side_table(
    path: Path,
    id_column: str,
    readers: Mapping[str, tuple[str, Reader]],
    schema: pa.Schema,
    refusals: Refusals,
    longest_row: int,
) -> tuple[pa.Table, str]:
    """One table, sorted by id, and the SHA-256 of its file."""
    sources = dict.fromkeys(source for source, _ in readers.values())
    sheet = Sheet.read(path, [id_column, *sources], longest_row)
    count_malformed(refusals, sheet.file, sheet.pieces)
    side = _SideTable(sheet, id_column, refusals)
    ids = side.usable_ids()
    if not len(ids):
        raise DataError(f"{path.name}: no usable row; refused {refusals.total(path.name)}")
    values = [
        side.parsed(source, reader, schema.field(name).type)
        for name, (source, reader) in readers.items()
    ]
    table = pa.table([pa.array(ids, pa.int32()), *values], schema=schema)
    return table, sheet.file.sha256.hexdigest()


@dataclass
class _SideTable:
    """A sheet whose rows each have an id of their own."""

    sheet: Sheet
    id_column: str
    refusals: Refusals
    rows: npt.NDArray[np.int64] = field(init=False)  # the kept ones, by increasing id
    reported: set[str] = field(default_factory=set)

    def usable_ids(self) -> npt.NDArray[np.int64]:
        """The ids in increasing order; rows without a usable one are refused."""
        name = self.id_column
        ids, whole = parsers.whole_numbers(self.sheet.table.column(name))
        inside = (ids >= 1) & (ids <= MOST_ID)
        self._count("unreadable id", np.flatnonzero(~whole), name, "is not a whole number")
        self._count(
            "id out of range", np.flatnonzero(whole & ~inside), name, f"is outside 1..{MOST_ID}"
        )
        usable = np.flatnonzero(inside)
        distinct, first = np.unique(ids[usable], return_index=True)
        again = np.delete(usable, first)
        self._count("duplicate id", again, name, "occurs again, its first row is kept")
        self.rows = usable[first]
        return distinct

    def parsed(self, source: str, reader: Reader, kind: pa.DataType) -> pa.Array:
        """A column of the kept rows; cells that cannot be read are counted and missing."""
        cells = self.sheet.table.column(source).take(pa.array(self.rows))
        column = parsers.parse(cells, reader, kind)
        if source not in self.reported:  # one cell can be read for two columns
            self.reported.add(source)
            unreadable = np.sort(self.rows[column.unreadable])
            self._count(
                f"unreadable {source}", unreadable, source, "is no known spelling, taken as missing"
            )
        return column.values

    def _count(self, reason: str, rows: npt.NDArray[np.int64], column: str, fault: str) -> None:
        first = rows[:EXAMPLES]
        cells = self.sheet.table.column(column).take(pa.array(first)).to_pylist()
        examples = (
            f"line {line}: {column} {cell!r} {fault}"
            for line, cell in zip(self.sheet.lines(first), cells, strict=True)
        )
        self.refusals.add(self.sheet.file.path.name, reason, len(rows), examples)
