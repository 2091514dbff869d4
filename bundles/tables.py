"""The tables that compiled code computes with: the graph's own, laid out for the processor.

What a request reads together stands in one row. Row 0 stands for "unknown", row r for the
catalogue's (r - 1)-th anime. A layer is a matrix whose last column is its bias. Compiled code does
not look whether an index is within bounds; reading does, once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import arrays
from bundles.crosses import Crosses

Shapes = Mapping[str, tuple[int, ...]]


class PersonalTables(NamedTuple):
    """Of the preset `personal`; the last three stand in `crosses/`.

    A anime, U users, D dimensions of a vector, P fields of a profile, T units of the tower, R and S
    of the rating's hidden layers, G genres, K crosses, L anime most like another.
    """

    user_rows: NDArray[np.int32]  # [largest id + 1]: the row of a user's id, 0 where there is none
    user: NDArray[np.float32]  # [U + 1, P]: profile
    watched: NDArray[np.float64]  # [A + 1, D + 1]: vector, expected rating
    anime: NDArray[np.float64]  # [A + 1, D + 4]: vector, expected rating, appeal, popularity, bias
    tower_in: NDArray[np.float32]  # [T, 2 D + 4]: of what was seen, liked, 3 numbers
    tower_out: NDArray[np.float32]  # [2 D, T + 1]
    genders: NDArray[np.float64]  # [genders + 1, T]: what each adds behind `tower_in`
    numbers: NDArray[np.float64]  # [P - 1, T + 2]: the same of a profile's number, mean, deviation
    from_user: NDArray[np.float32]  # [R, D + 1]
    from_anime: NDArray[np.float32]  # [2, R, D]: of the anime's vector, and of it times the user's
    from_signals: NDArray[np.float64]  # [R + 1, 7]: the last row adds to the rating itself
    hidden: NDArray[np.float32]  # [S, R + 1]
    last: NDArray[np.float64]  # [S + 1]
    alike: NDArray[np.int32]  # [A, L], rows less one, of the anime most like each
    likeness: NDArray[np.float32]  # [A, L]: how alike
    genre_numbers: NDArray[np.float64]  # [3, G]: liking, watching, usual
    scalars: NDArray[np.float64]  # of `SCALARS`
    crossed: NDArray[np.int32]  # [A, K], rows less one
    cross_weights: NDArray[np.float32]  # [A, K]
    genre: NDArray[np.bool_]  # [A, G]

    def bounds(self) -> Mapping[str, int]:
        """Below which the rows in a table should be."""
        return {"user_rows": len(self.user), "alike": len(self.alike)}

    def shapes(self, anime: int, profile: int) -> Shapes:
        """What the shape of each table should be, of so many anime and fields of a profile."""
        dim, tower = self.watched.shape[1] - 1, len(self.tower_in)
        first, second = len(self.from_user), len(self.hidden)
        return {
            "user_rows": self.user_rows.shape,
            "user": (len(self.user), profile),
            "watched": (anime + 1, dim + 1),
            "anime": (anime + 1, dim + 4),
            "tower_in": (tower, 2 * dim + 4),
            "tower_out": (2 * dim, tower + 1),
            "genders": (len(self.genders), tower),
            "numbers": (profile - 1, tower + 2),
            "from_user": (first, dim + 1),
            "from_anime": (2, first, dim),
            "from_signals": (first + 1, 7),
            "hidden": (second, first + 1),
            "last": (second + 1,),
            "alike": (anime, self.alike.shape[1]),
            "likeness": (anime, self.alike.shape[1]),
            "genre_numbers": (3, self.genre.shape[1]),
            "scalars": (len(SCALARS),),
        }


# usual: the mean rating; taste, deep, alone: of the mix; damping in ratings; product, crossed_half,
# alike_half: of the rating's signals; far: deviations at which a profile's number is cut.
SCALARS = (
    *("usual", "taste", "deep", "alone", "user_damping", "genre_damping", "product"),
    *("crossed_half", "alike_half", "far"),
)


class SeedTables(NamedTuple):
    """Of the preset `seed`.

    A anime, U users, P fields of a profile, R, S and T units of the hidden layers.
    """

    user_rows: NDArray[np.int32]  # [largest id + 1]: the row of a user's id, 0 where there is none
    user: NDArray[np.float64]  # [U + 1, P + 1]: profile, wide score
    genders: NDArray[np.float64]  # [genders + 1, 1]: the wide score of each
    numbers: NDArray[np.float64]  # [2, P - 1]: mean and deviation
    anime: NDArray[np.float64]  # [A + 1, R + 1]: units of the first layer, wide score
    from_user: NDArray[np.float32]  # [R, P - 1]
    hidden: NDArray[np.float32]  # [S, R + 1]
    deeper: NDArray[np.float32]  # [T, S + 1]
    last: NDArray[np.float64]  # [T]

    def bounds(self) -> Mapping[str, int]:
        """Below which the rows in a table should be."""
        return {"user_rows": len(self.user)}

    def shapes(self, anime: int, profile: int) -> Shapes:
        """What the shape of each table should be, of so many anime and fields of a profile."""
        first, second, third = len(self.from_user), len(self.hidden), len(self.deeper)
        return {
            "user_rows": self.user_rows.shape,
            "user": (len(self.user), profile + 1),
            "genders": (len(self.genders), 1),
            "numbers": (2, profile - 1),
            "anime": (anime + 1, first + 1),
            "from_user": (first, profile - 1),
            "hidden": (second, first + 1),
            "deeper": (third, second + 1),
            "last": (third,),
        }


ServedTables = PersonalTables | SeedTables
# By the preset whose arithmetic they are for; the manifest's `tables` names it.
KINDS: Mapping[str, type[PersonalTables] | type[SeedTables]] = {
    "personal-2": PersonalTables,  # "personal" had no likeness
    "seed": SeedTables,
}
_OF_CROSSES = {"crossed": "candidate", "cross_weights": "weight", "genre": "genre"}


def kind_of(tables: ServedTables) -> str:
    """The name of their kind."""
    return next(kind for kind, of in KINDS.items() if isinstance(tables, of))


def table_files(kind: str) -> tuple[str, ...]:
    """The files of tables of a kind, as the manifest lists them."""
    return tuple(f"tables/{name}.npy" for name in _own(kind))


def write_tables(tables: ServedTables, folder: Path) -> None:
    """Write the tables to `folder`, a new one, but for those of the crosses."""
    folder.mkdir()
    for name in _own(kind := kind_of(tables)):
        arrays.save(folder / f"{name}.npy", getattr(tables, name), _type(kind, name))


def read_tables(
    kind: str, folder: Path, anime: int, profile: int, crosses: Crosses | None
) -> ServedTables:
    """The tables in `folder`, memory-mapped, of so many anime and fields of a profile.

    Raises BundleError where the files do not hold tables of the kind that fit each other.
    """
    taken = [name for name in _OF_CROSSES if name in KINDS[kind]._fields]
    if taken and crosses is None:
        raise BundleError(f"{folder}: tables of {kind} need crosses, and the bundle has none")
    found: dict[str, NDArray[Any]] = {name: getattr(crosses, _OF_CROSSES[name]) for name in taken}
    for name in _own(kind):
        path = folder / f"{name}.npy"
        found[name] = arrays.load(path, _type(kind, name), _DIMENSIONS.get(name, 2))
        if not found[name].flags.c_contiguous:
            raise BundleError(f"{path}: stands column by column, should be row by row")
    tables = KINDS[kind](**found)
    for name, right in tables.shapes(anime, profile).items():
        if (shape := found[name].shape) != right:
            raise BundleError(f"{folder}/{name}.npy: {list(shape)}, should be {list(right)}")
    if not len(tables.genders):
        raise BundleError(f"{folder}/genders.npy: is empty, its first row is of those not known")
    for name, bound in tables.bounds().items():
        rows = found[name]
        if np.any(rows < 0) or np.any(rows >= bound):
            raise BundleError(f"{folder}/{name}.npy: should be rows from 0 to {bound - 1}")
    return tables


def _own(kind: str) -> tuple[str, ...]:
    return tuple(name for name in KINDS[kind]._fields if name not in _OF_CROSSES)


# Weights as they were trained, in float32: computing in float64 loses none of them, and what a
# request reads of them has to come from a cache that is not much larger.
_NARROW = ("tower_in", "tower_out", "from_user", "from_anime", "hidden", "deeper", "likeness")
_ROWS = ("user_rows", "alike")
_DIMENSIONS = {"user_rows": 1, "last": 1, "scalars": 1, "from_anime": 3}


def _type(kind: str, name: str) -> type[np.generic]:
    if name in _ROWS:
        return np.int32
    narrow = name in _NARROW or (kind, name) == ("personal-2", "user")
    return np.float32 if narrow else np.float64
