"""What the manifest says of the wide part: the few numbers beside the tables of crosses."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anirank.errors import quoted


@dataclass(frozen=True, slots=True)
class Genre:
    """What a user's history in this genre adds to a candidate of it, and how much of it is usual.

    liking: score units a point of rating; watching: score units a share of the history;
    usual: the share of a history that is of this genre, over all users.
    """

    name: str
    liking: float
    watching: float
    usual: float


@dataclass(frozen=True, slots=True)
class Wide:
    """The numbers of the wide part; `Crosses` says what is made of them.

    taste: share a point of rating; damping, genre_damping: ratings.
    """

    taste: float
    damping: float
    genre_damping: float
    genres: tuple[Genre, ...]

    def declared(self) -> dict[str, Any]:
        """The manifest's `wide`, which `read_wide` reads."""
        return asdict(self)


def read_wide(declared: Mapping[str, Any]) -> Wide:
    """The manifest's `wide`; raises KeyError, TypeError or ValueError where it is none."""
    return Wide(
        taste=number(declared, "taste"),
        damping=_damping(declared, "damping"),
        genre_damping=_damping(declared, "genre_damping"),
        genres=tuple(
            Genre(
                name=str(entry["name"]),
                liking=number(entry, "liking"),
                watching=number(entry, "watching"),
                usual=number(entry, "usual"),
            )
            for entry in declared["genres"]
        ),
    )


def number(declared: Mapping[str, Any], key: str) -> float:
    """A finite number of the manifest; raises KeyError, TypeError or ValueError where it is none.

    Of an integer that no float holds, OverflowError.
    """
    value = declared[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{key} is {quoted(value)}, should be a number")
    if not math.isfinite(value):
        raise ValueError(f"{key} is {value}, should be finite")
    return float(value)


def _damping(declared: Mapping[str, Any], key: str) -> float:
    """A number of ratings that is added to those there are, and divided by."""
    value = number(declared, key)
    if value <= 0:
        raise ValueError(f"{key} is {value}, should be above 0")
    return value
