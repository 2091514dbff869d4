"""The spellings of values in the dump: numbers, dates, durations and lists.

A reader takes one cell. It returns None where the cell says "missing" in any of the dump's ways,
and raises ValueError on a spelling it does not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MISSING = frozenset({"", "unknown", "not available"})  # in lower case

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_AIR_DATE = re.compile(r"(?:([A-Z][a-z]{2})(?: (\d{1,2}))?,? )?(\d{4})")
_DURATION = re.compile(r"(?:(\d+) hr)?(?: ?(\d+) min)?(?: ?(\d+) sec)?(?: per ep)?")
_TIME_OF_DAY = re.compile(r"(?:[T ][0-9:.]+(?:Z|[+-]\d\d:?\d\d)?)?")
_LIST_SEPARATOR = ", "


def text(cell: str) -> str | None:
    """``Manga`` → itself; None for each spelling of missing."""
    return None if cell.lower() in MISSING else cell


def number(cell: str) -> float | None:
    """``26.0`` → 26.0; ValueError for what is not a finite number."""
    if text(cell) is None:
        return None
    # float() also takes 1_000, which no one means in a table.
    if "_" in cell or not math.isfinite(value := float(cell)):
        raise ValueError(f"not a number: {cell}")
    return value


def position(cell: str) -> float | None:
    """A place in an order, from 1: ``15.0`` → 15.0; 0 means that there is none."""
    return number(cell) or None


def duration(cell: str) -> float | None:
    """Minutes: ``1 hr 55 min`` → 115.0, ``30 sec`` → 0.5, ``24 min per ep`` → 24.0."""
    if text(cell) is None:
        return None
    match = _DURATION.fullmatch(cell)
    if match is None or not any(match.groups()):
        raise ValueError(f"not a duration: {cell}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 60 + minutes + seconds / 60 or None


def day(cell: str) -> date | None:
    """The day of an ISO timestamp: ``1985-03-04T00:00:00+00:00`` → 4 March 1985."""
    if text(cell) is None:
        return None
    if not _TIME_OF_DAY.fullmatch(cell[10:]):
        raise ValueError(f"not a timestamp: {cell}")
    return date.fromisoformat(cell[:10])


def air_start(cell: str) -> date | None:
    """The first day of ``Apr 3, 1998 to Apr 24, 1999``; a part not given counts as its first."""
    return _air_dates(cell)[0]


def air_end(cell: str) -> date | None:
    """The last day of ``Apr 3, 1998 to ?`` (here None); of a single date, that date."""
    return _air_dates(cell)[1]


def names(cell: str) -> list[str]:
    """``Action, Sci-Fi`` → [Action, Sci-Fi]; [] for each spelling of missing."""
    if text(cell) is None:
        return []
    return [name for part in cell.split(_LIST_SEPARATOR) if (name := part.strip())]


def _air_dates(cell: str) -> tuple[date | None, date | None]:
    if text(cell) is None:
        return None, None
    first, to, last = cell.partition(" to ")
    start = _air_date(first)
    return start, _air_date(last) if to else start


def _air_date(part: str) -> date | None:
    if part == "?":
        return None
    match = _AIR_DATE.fullmatch(part)
    if match is None:
        raise ValueError(f"not a date: {part}")
    month, day_of_month, year = match.groups()
    return date(int(year), _MONTHS.index(month) + 1 if month else 1, int(day_of_month or 1))


def whole_numbers(
    cells: pa.ChunkedArray,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Texts or integers as int64, and which of them are whole numbers: ``9.0`` is, ``9.5`` not."""
    try:
        return cells.cast(pa.int64()).to_numpy(), np.ones(len(cells), dtype=np.bool_)
    except pa.ArrowInvalid:
        values = parse(cells, number, pa.float64()).values.to_numpy(zero_copy_only=False)
    # Beyond 2^53 a float no longer tells one whole number from the next.
    whole = (np.abs(values) < 2.0**53) & (values == np.round(values))
    return np.where(whole, values, 0).astype(np.int64), whole


@dataclass(frozen=True)
class Column:
    """A parsed column: ``values`` with nulls for missing, and ``unreadable``: bool[rows]."""

    values: pa.Array
    unreadable: npt.NDArray[np.bool_]


def parse(cells: pa.ChunkedArray, reader: Callable[[str], Any], kind: pa.DataType) -> Column:
    """Apply a reader to every cell; a cell it cannot read becomes null and is marked.

    Spellings repeat a lot, so each distinct one is read once.
    """
    encoded = cells.combine_chunks().dictionary_encode()
    values, unreadable = [], []
    for cell in encoded.dictionary.to_pylist():
        try:
            values.append(reader(cell.strip()))
            unreadable.append(False)
        except ValueError:
            values.append(reader(""))
            unreadable.append(True)
    rows = encoded.indices
    marks = np.array(unreadable, dtype=np.bool_)[rows.to_numpy()]
    return Column(pa.array(values, kind).take(rows), marks)
