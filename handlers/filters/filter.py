"""What a request says of the anime it may be answered with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles.facets import COLUMNS

RANGES = ("years", "episodes")


class Values(NamedTuple):
    """Of a column: an anime has one of `any` or more, where there are some, all of `all`, and none
    of `none`.
    """

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


class Range(NamedTuple):
    """From one whole number to another, both included; None where that end is open."""

    min: int | None = None
    max: int | None = None


WHATEVER, OPEN = Values(), Range()


def _no_ids() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """An anime passes where all of it lets it; the fields are those of the proto file.

    Filter(genres=Values(any=("Action", "Sci-Fi"), none=("Ecchi",)), years=Range(min=2000))

    years, episodes: one of which they are not known does not pass, where an end is given.
    without_ids: int64[N], none of these; only_ids: int64[M], only these, None = whichever.
    """

    genres: Values = WHATEVER
    types: Values = WHATEVER
    studios: Values = WHATEVER
    sources: Values = WHATEVER
    age_ratings: Values = WHATEVER
    years: Range = OPEN
    episodes: Range = OPEN
    without_ids: NDArray[np.int64] = field(default_factory=_no_ids)
    only_ids: NDArray[np.int64] | None = None

    def lists(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Column, name and values of each list that has any."""
        for column in COLUMNS:
            for name, values in zip(Values._fields, getattr(self, column), strict=True):
                if values:
                    yield column, name, values

    def ranges(self) -> Iterator[tuple[str, Range]]:
        """Name and ends of each range that has one."""
        for name in RANGES:
            if (ends := getattr(self, name)) != OPEN:
                yield name, ends
