"""What the manifest says of the wide part: the few numbers beside the tables of crosses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
        taste=float(declared["taste"]),
        damping=float(declared["damping"]),
        genre_damping=float(declared["genre_damping"]),
        genres=tuple(
            Genre(
                name=str(entry["name"]),
                liking=float(entry["liking"]),
                watching=float(entry["watching"]),
                usual=float(entry["usual"]),
            )
            for entry in declared["genres"]
        ),
    )
