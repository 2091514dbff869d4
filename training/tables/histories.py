"""What was recorded while a model served, which `anirank histories export` writes: more ratings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anirank.errors import DataError
from bundles.files import sha256
from training.tables.growth import joined, replaced
from training.tables.ratings_file import MOST_ID
from training.tables.refusals import EXAMPLES, Refusals
from training.tables.tables import USERS_SCHEMA, Ratings, Tables, arrow_table, frame

_COLUMNS = {"user_id": pa.int64(), "anime_id": pa.int64(), "rating": pa.float64()}


@dataclass(frozen=True, eq=False)
class WithHistories:
    """Tables with what was recorded.

    ``new``, ``replaced``: ratings of pairs that had none, and that had one; ``forgotten``: users
    whose ratings and details of before were left out; ``refusals``: of the file.
    """

    tables: Tables
    new: int
    replaced: int
    forgotten: int
    refusals: Refusals

    def __str__(self) -> str:
        return (
            f"recorded ratings: {self.new:,} new, {self.replaced:,} in place of others; users "
            f"forgotten: {self.forgotten:,}"
        )


def with_histories(tables: Tables, file: Path) -> WithHistories:
    """Take in what was recorded; of a pair that has a rating the recorded one counts.

    A user who is not among the users becomes one, of whom nothing is stated. Who was forgotten is
    left out with all that the tables have of them; what was recorded of them since is taken in.
    What was watched and not rated is no rating, and is counted among the refusals; a rating between
    two whole ones is rounded, a half up. DataError where the file is not what ``anirank histories
    export`` writes.
    """
    recorded = _read(file)
    gone = np.unique(recorded["user_id"].filter(recorded["anime_id"].is_null()).to_numpy())
    before = _without(tables, gone)
    refusals, anime_ids = Refusals(), before.anime["anime_id"].to_numpy()
    rated = _usable(recorded, file.name, anime_ids, refusals)
    users = arrow_table(before.users, USERS_SCHEMA)
    raters = pa.table({"user_id": pa.array(np.unique(rated["user_id"]), pa.int32())})
    users = joined(users, raters, "user_id")
    user_ids = users["user_id"].to_numpy()
    came = Ratings(
        np.searchsorted(user_ids, rated["user_id"]).astype(np.int32),
        np.searchsorted(anime_ids, rated["anime_id"]).astype(np.int32),
        np.floor(rated["rating"] + 0.5).astype(np.int8),
    )
    moved = np.searchsorted(user_ids, before.users["user_id"].to_numpy())[before.ratings.user_row]
    was = replace(before.ratings, user_row=moved.astype(np.int32))
    ratings, again = replaced(was, came, len(anime_ids))
    every = Refusals()
    every.merge(tables.refusals)
    every.merge(refusals)
    after = replace(
        before,
        users=frame(users, USERS_SCHEMA),
        ratings=ratings,
        fingerprint=hashlib.sha256((tables.fingerprint + sha256(file)).encode()).hexdigest(),
        refusals=every,
    )
    known = int(np.isin(gone, tables.users["user_id"].to_numpy()).sum())
    return WithHistories(after, len(came) - again, again, known, refusals)


def _read(file: Path) -> pa.Table:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as fault:
        raise DataError(
            f"{file}: cannot be read as Parquet: {str(fault).splitlines()[0]}"
        ) from fault
    missing = [name for name in (*_COLUMNS, "recorded_at") if name not in table.column_names]
    if missing:
        raise DataError(
            f"{file}: no column {missing[0]!r}; found {', '.join(table.column_names)}; should be "
            "what `anirank histories export` writes"
        )
    table = table.sort_by("recorded_at")
    return pa.table({name: table[name].cast(kind) for name, kind in _COLUMNS.items()})


def _without(tables: Tables, gone: npt.NDArray[np.int64]) -> Tables:
    """The tables without some users."""
    kept = ~np.isin(tables.users["user_id"].to_numpy(), gone)
    if kept.all():
        return tables
    places = (np.cumsum(kept) - 1).astype(np.int32)
    rows = np.flatnonzero(kept[tables.ratings.user_row])
    ratings = tables.ratings.at(rows)
    return replace(
        tables,
        users=tables.users[kept].reset_index(drop=True),
        ratings=replace(ratings, user_row=places[ratings.user_row]),
    )


def _usable(
    recorded: pa.Table, name: str, anime_ids: npt.NDArray[Any], refusals: Refusals
) -> dict[str, npt.NDArray[Any]]:
    """The rows that are ratings, each pair once, as it stands last; the others are counted."""
    items = recorded.filter(pc.is_valid(recorded["anime_id"]))
    columns = {
        "user_id": items["user_id"].to_numpy(),
        "anime_id": items["anime_id"].to_numpy(),
        "rating": items["rating"].fill_null(float("nan")).to_numpy(),
    }
    user, anime, rating = columns.values()
    reasons: dict[str, tuple[npt.NDArray[np.bool_], Callable[[int], str]]] = {
        "watched, not rated": (
            np.isnan(rating),
            lambda row: f"user_id {user[row]}, anime_id {anime[row]} has no rating to learn from",
        ),
        "id out of range": (
            (user < 1) | (user > MOST_ID),
            lambda row: f"user_id {user[row]} is outside 1..{MOST_ID}",
        ),
        "rating outside 1..10": (
            ~((rating >= 1) & (rating <= 10)),
            lambda row: f"rating {rating[row]:g} is outside 1..10",
        ),
        "orphan anime": (
            ~np.isin(anime, anime_ids),
            lambda row: f"anime_id {anime[row]} is not in the anime file",
        ),
    }
    kept = np.ones(len(user), dtype=np.bool_)
    for reason, (fault, told) in reasons.items():
        refused = np.flatnonzero(fault & kept)
        refusals.add(name, reason, len(refused), (told(row) for row in refused[:EXAMPLES].tolist()))
        kept[refused] = False
    rows = np.flatnonzero(kept)
    pairs = np.stack((user[rows], anime[rows]))[:, ::-1]
    _, from_the_end = np.unique(pairs, axis=1, return_index=True)
    rows = rows[np.sort(len(rows) - 1 - from_the_end)]
    return {column: values[rows] for column, values in columns.items()}
