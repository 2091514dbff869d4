"""A store's content as a Parquet file, and back; training reads it as more ratings.

An anime of a user is a row: user_id (int64), anime_id (int32), rating (float, null = not rated) and
recorded_at (milliseconds, UTC). Of a user who was forgotten there is a row that has nothing but the
user_id, beside those of what was recorded since.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anirank.errors import HistoriesError
from bundles.files import whole
from handlers.histories.record import ITEM, Items, Record, importing
from handlers.histories.store import Store

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.int64(), nullable=False),
        ("anime_id", pa.int32()),
        ("rating", pa.float32()),
        ("recorded_at", pa.timestamp("ms", tz="UTC")),
    ],
    {"anirank.histories": "1"},
)
_ROWS = 200_000  # of a row group
_AT_ONCE = 256  # users that are written at a time


class Counts(NamedTuple):
    """How much a file has: users of whom something is recorded, items, users forgotten."""

    users: int
    items: int
    forgotten: int


async def export_to(store: Store, file: Path) -> Counts:
    """Write all that a store has to a file, whole or not at all.

    Raises HistoriesError where the file cannot be written or a record is damaged, and
    BackendUnavailable.
    """
    users = items = forgotten = 0
    try:
        with whole(file) as scratch, pq.ParquetWriter(scratch, SCHEMA) as writer:
            async for found in _row_groups(store):
                for _, record in found:
                    users += len(record.items) > 0
                    items += len(record.items)
                    forgotten += record.forgotten
                writer.write_table(_table(found))
    except OSError as error:
        raise HistoriesError(f"{file}: cannot be written ({error.strerror or error})") from error
    return Counts(users, items, forgotten)


async def import_from(store: Store, file: Path) -> Counts:
    """Take what `export_to` wrote into a store, beside what is there; once more does no harm.

    Of an anime that both have the later counts. Who is forgotten in the file is forgotten in the
    store, with all that it had recorded of them. Raises HistoriesError where the file is none, and
    BackendUnavailable.
    """
    users = items = forgotten = 0
    waiting = []
    for user_id, found, gone in _users(file):
        users += len(found) > 0
        items += len(found)
        forgotten += gone
        waiting.append(store.update(user_id, importing(found, gone)))
        if len(waiting) == _AT_ONCE:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)
    return Counts(users, items, forgotten)


async def _row_groups(store: Store) -> AsyncIterator[list[tuple[int, Record]]]:
    group: list[tuple[int, Record]] = []
    rows = 0
    async for user_id, record in store.all():
        group.append((user_id, record))
        rows += len(record.items) + record.forgotten
        if rows >= _ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _table(found: list[tuple[int, Record]]) -> pa.Table:
    gone = np.array([user_id for user_id, record in found if record.forgotten], np.int64)
    items = np.concatenate([record.items for _, record in found])
    counts = [len(record.items) for _, record in found]
    users = np.repeat(np.array([user_id for user_id, _ in found], np.int64), counts)
    nothing = np.arange(len(gone) + len(users)) < len(gone)  # first, as they were forgotten first
    padded = np.zeros(len(nothing), ITEM)
    padded[len(gone) :] = items
    ratings = padded["rating"]
    columns = [
        pa.array(np.concatenate((gone, users))),
        pa.array(padded["anime_id"], mask=nothing),
        pa.array(ratings, mask=nothing | np.isnan(ratings)),
        pa.array(padded["time_ms"], pa.int64(), mask=nothing).cast(SCHEMA.field(3).type),
    ]
    return pa.table(columns, schema=SCHEMA).sort_by(
        [("user_id", "ascending"), ("recorded_at", "ascending")]
    )


def _users(file: Path) -> Iterator[tuple[int, Items, bool]]:
    """Each user of a file, with what is recorded of them and whether they were forgotten."""
    table = read(file).sort_by([("user_id", "ascending"), ("recorded_at", "ascending")])
    users = table["user_id"].to_numpy()
    gone = table["anime_id"].is_null().to_numpy()
    items = np.zeros(len(table), ITEM)
    items["anime_id"] = table["anime_id"].fill_null(0).to_numpy()
    items["rating"] = table["rating"].fill_null(float("nan")).to_numpy()
    items["time_ms"] = table["recorded_at"].cast(pa.int64()).fill_null(0).to_numpy()
    bounds = [*np.flatnonzero(np.diff(users, prepend=users[:1] - 1)).tolist(), len(users)]
    for begin, end in pairwise(bounds):
        mine = slice(begin, end)
        yield int(users[begin]), items[mine][~gone[mine]], bool(gone[mine].any())


def read(file: Path) -> Any:
    """The table in a file; raises HistoriesError where it is not what `export_to` writes."""
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise HistoriesError(f"{file}: cannot be read as Parquet ({reason})") from error
    if not table.schema.equals(SCHEMA):
        raise HistoriesError(
            f"{file}: has {', '.join(table.column_names)}; should be what `anirank histories "
            "export` writes"
        )
    return table
