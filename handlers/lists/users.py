"""Whose lists are made: ids of a file, or all users that a bundle knows."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from anirank.errors import DataError
from bundles.bundle import Bundle

COLUMN = "user_id"


class Asked(NamedTuple):
    """Whose lists are asked for, int64[U], ascending; unknown: of them, or left out of them, those
    whom the bundle does not know."""

    users: NDArray[np.int64]
    unknown: NDArray[np.int64]


def asked_for(bundle: Bundle, file: Path | None, skip_unknown: bool) -> Asked:
    """The users of a file, or all whom the bundle knows, with or without those it does not know.

    Raises DataError where that is nobody.
    """
    known = bundle.histories.user_id
    users = known if file is None else read_users(file)
    if not len(users):
        raise DataError(f"{bundle.folder}: knows no users; name some in a file")
    there = np.isin(users, known, assume_unique=True)
    if skip_unknown and not there.any():
        raise DataError(f"{file}: names no user whom {bundle.folder} knows")
    return Asked(users[there] if skip_unknown else users, users[~there])


def read_users(file: Path) -> NDArray[np.int64]:
    """The user ids of a file, int64[U], ascending, each once.

    A name that ends with .parquet is a Parquet file, any other one of text: CSV with a heading, or
    an id a line without one. Raises DataError where there is no column of ids.
    """
    try:
        table = _parquet(file) if file.suffix == ".parquet" else _text(file)
        if COLUMN not in table.column_names:
            raise DataError(f"{file}: no column {COLUMN!r}; found {', '.join(table.column_names)}")
        ids = table[COLUMN].cast(pa.int64())
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{file}: should hold user ids, one a row ({error})") from error
    if ids.null_count:
        raise DataError(f"{file}: {ids.null_count} rows without a {COLUMN}")
    if not len(ids):
        raise DataError(f"{file}: holds no user ids")
    return np.unique(ids.to_numpy())


def _parquet(file: Path) -> pa.Table:
    opened = pq.ParquetFile(file)
    there = COLUMN in opened.schema_arrow.names
    return opened.read([COLUMN] if there else None)


def _text(file: Path) -> pa.Table:
    with file.open(encoding="utf-8-sig") as lines:
        first = lines.readline().strip()
    bare = first.removeprefix("-").isdecimal()
    return csv.read_csv(
        file,
        csv.ReadOptions(column_names=[COLUMN] if bare else None),
        convert_options=csv.ConvertOptions(column_types={COLUMN: pa.int64()}),
    )
