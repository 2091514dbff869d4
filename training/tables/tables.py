"""The typed tables made from the CSV files, and the folder that keeps them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from anirank.errors import DataError
from bundles.files import sha256
from training.tables.refusals import Refusals

MANIFEST = "tables.json"
FORMAT = 1  # raised when a folder written before can no longer be read

_DAY = pa.date32()
_TEXTS = pa.list_(pa.string())

ANIME_SCHEMA = pa.schema(
    {
        "anime_id": pa.int32(),
        "name": pa.string(),
        "english_name": pa.string(),
        "score": pa.float64(),
        "genres": _TEXTS,
        "type": pa.string(),
        "episodes": pa.float64(),
        "air_start": _DAY,
        "air_end": _DAY,
        "premiered": pa.string(),
        "status": pa.string(),
        "producers": _TEXTS,
        "licensors": _TEXTS,
        "studios": _TEXTS,
        "source": pa.string(),
        "duration_minutes": pa.float64(),
        "age_rating": pa.string(),
        "rank": pa.float64(),
        "popularity": pa.float64(),
        "favorites": pa.float64(),
        "scored_by": pa.float64(),
        "members": pa.float64(),
    }
)
USERS_SCHEMA = pa.schema(
    {
        "user_id": pa.int32(),
        "gender": pa.string(),
        "birthday": _DAY,
        "location": pa.string(),
        "joined": _DAY,
        "days_watched": pa.float64(),
        "mean_score": pa.float64(),
        "watching": pa.float64(),
        "completed": pa.float64(),
        "on_hold": pa.float64(),
        "dropped": pa.float64(),
        "plan_to_watch": pa.float64(),
        "total_entries": pa.float64(),
        "rewatched": pa.float64(),
        "episodes_watched": pa.float64(),
    }
)
RATINGS_SCHEMA = pa.schema(
    {"user_row": pa.int32(), "anime_row": pa.int32(), "rating": pa.int8()},
)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what and how, as three arrays of one length R, in the order of the file.

    ``user_row``: int32[R], row in ``Tables.users``; ``anime_row``: int32[R], row in
    ``Tables.anime``; ``rating``: int8[R], 1 to 10. A pair of rows occurs once.
    """

    user_row: npt.NDArray[np.int32]
    anime_row: npt.NDArray[np.int32]
    rating: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.rating)

    def at(self, rows: npt.NDArray[np.int64]) -> Ratings:
        """Those at ``rows``, int64[n], in that order."""
        return Ratings(self.user_row[rows], self.anime_row[rows], self.rating[rows])


@dataclass(frozen=True)
class Source:
    """Where tables come from.

    ``name``: that of the folder of CSV files, "" where it was not kept; ``synthetic``: whether
    ``anirank synth`` wrote them.
    """

    name: str = ""
    synthetic: bool = False


@dataclass(frozen=True, eq=False)
class Tables:
    """The data as read: typed, nothing imputed, each refused row counted.

    ``anime`` has the columns of ``ANIME_SCHEMA``, sorted by ``anime_id``; ``users`` those of
    ``USERS_SCHEMA``, sorted by ``user_id``; both have a RangeIndex. Unknown is NaN in numbers,
    NaT in dates, None in texts and [] in lists. ``fingerprint`` is the SHA-256, in hexadecimal,
    of the source files.
    """

    anime: pd.DataFrame
    users: pd.DataFrame
    ratings: Ratings
    fingerprint: str
    refusals: Refusals
    source: Source = Source()

    def without_users(self) -> Tables:
        """The same catalogue, of nobody: no users, and so no ratings."""
        nothing = self.ratings.at(np.arange(0))
        return replace(self, users=self.users.iloc[:0], ratings=nothing)

    def save(self, folder: Path) -> None:
        """Write the tables to ``folder``, whole or not at all.

        A prepared folder or an empty one in its place is replaced; DataError if the place holds
        anything else, or cannot be written.
        """
        folder = Path(folder)
        _refuse_to_overwrite(folder)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
            ) as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                self._write(made)
                if folder.exists():
                    folder.rename(Path(scratch) / "replaced")
                made.rename(folder)
        except OSError as fault:
            raise DataError(f"{folder}: cannot be written: {fault.strerror or fault}") from fault

    def _write(self, folder: Path) -> None:
        ratings = pa.table(
            [self.ratings.user_row, self.ratings.anime_row, self.ratings.rating],
            schema=RATINGS_SCHEMA,
        )
        _write_parquet(arrow_table(self.anime, ANIME_SCHEMA), folder / "anime.parquet")
        _write_parquet(arrow_table(self.users, USERS_SCHEMA), folder / "users.parquet")
        _write_parquet(ratings, folder / "ratings.parquet")
        (folder / "refusals.json").write_text(self.refusals.to_json(), encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "source": asdict(self.source),
            "anime": len(self.anime),
            "users": len(self.users),
            "ratings": len(self.ratings),
            "sha256": {file.name: sha256(file) for file in sorted(folder.iterdir())},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tables:
        """Read what ``save`` wrote; DataError if it is not a prepared folder or is damaged."""
        folder = Path(folder)
        manifest = _read_manifest(folder)
        try:
            anime = frame(pq.read_table(folder / "anime.parquet"), ANIME_SCHEMA)
            users = frame(pq.read_table(folder / "users.parquet"), USERS_SCHEMA)
            ratings = pq.read_table(folder / "ratings.parquet", schema=RATINGS_SCHEMA)
            refusals = Refusals.from_json((folder / "refusals.json").read_text(encoding="utf-8"))
            arrays = (ratings.column(name).to_numpy() for name in RATINGS_SCHEMA.names)
            source = Source(**manifest.get("source", {}))
            fingerprint = str(manifest["fingerprint"])
            return cls(anime, users, Ratings(*arrays), fingerprint, refusals, source)
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as fault:
            reason = str(fault).splitlines()[0]
            raise DataError(f"{folder}: damaged: {reason}; prepare the data again") from fault


def adult(anime: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which anime are for adults, bool[A]: by their age rating, or by their genre."""
    rated = anime["age_rating"].eq("Rx - Hentai").to_numpy(np.bool_)
    of_genre = anime["genres"].map(lambda genres: "Hentai" in genres).to_numpy(np.bool_)
    marked: npt.NDArray[np.bool_] = rated | of_genre
    return marked


def detailed(users: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Of which users anything is stated, bool[U]; of those without details nothing is."""
    stated: npt.NDArray[np.bool_] = users.drop(columns="user_id").notna().any(axis=1).to_numpy()
    return stated


def is_prepared(folder: Path) -> bool:
    """Whether ``folder`` was written by ``Tables.save``."""
    return (folder / MANIFEST).is_file()


def frame(table: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    """An Arrow table as a DataFrame with the columns of ``schema`` and a RangeIndex.

    Texts stay Python strings or None and lists Python lists: pandas would make NaN of a missing
    text, and NaN is neither false nor equal to itself.
    """
    return pd.DataFrame({field.name: _series(table.column(field.name), field) for field in schema})


def _series(column: pa.ChunkedArray, field: pa.Field) -> pd.Series[Any]:
    column = column.cast(field.type)
    if pa.types.is_date(field.type):
        column = column.cast(pa.timestamp("s"))  # the coarsest unit that pandas has
    if pa.types.is_list(field.type):
        lists = np.empty(len(column), dtype=object)
        lists[:] = column.to_pylist()
        return pd.Series(lists, dtype=object)
    return pd.Series(column.to_numpy(), dtype=object if pa.types.is_string(field.type) else None)


def arrow_table(table: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """What ``frame`` makes a DataFrame of."""
    return pa.Table.from_pandas(table, schema=schema, preserve_index=False)


def _write_parquet(table: pa.Table, file: Path) -> None:
    # Row numbers hardly compress; LZ4 costs next to nothing and takes what there is.
    pq.write_table(table, file, compression="lz4", use_dictionary=False)


def _refuse_to_overwrite(folder: Path) -> None:
    if not folder.exists() or is_prepared(folder):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise DataError(f"{folder}: holds something else; give a new or a prepared folder")


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not is_prepared(folder):
        raise DataError(f"{folder}: not a prepared folder, it has no {MANIFEST}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found, digests = manifest["format"], dict(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(f"{folder / MANIFEST}: damaged; prepare the data again") from fault
    if found != FORMAT:
        raise DataError(f"{folder}: format {found}, not {FORMAT}; prepare the data again")
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file}: missing; prepare the data again")
        if sha256(file) != digest:
            raise DataError(f"{file}: its SHA-256 is not the one in {MANIFEST}; it was changed")
    return dict(manifest)
