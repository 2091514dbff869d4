"""The anime a bundle can rank."""

from collections.abc import Sized
from pathlib import Path
from tokenize import TokenError  # raised for some headers that NumPy cannot read
from typing import TypeVar, cast

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from anirank.errors import BundleError

Kind = TypeVar("Kind", bound=np.generic)

FILES = ("anime_id.npy", "title.npy", "genres.npy", "type.npy", "adult.npy")


class Catalogue:
    """The anime of a bundle, by ascending id.

    anime_id: int64[A]; adult: bool[A]; titles, genres, types: list[str] of A, in the same order.
    """

    def __init__(self, folder: Path) -> None:
        """Open the catalogue in `folder`; raises BundleError where its arrays do not fit."""
        self.anime_id: NDArray[np.int64] = load(folder / "anime_id.npy", np.int64)
        self.adult: NDArray[np.bool_] = load(folder / "adult.npy", np.bool_)
        self.titles = _texts(folder / "title.npy")
        self.genres = _texts(folder / "genres.npy")
        self.types = _texts(folder / "type.npy")
        columns: tuple[Sized, ...] = (self.titles, self.genres, self.types, self.adult)
        for name, column in zip(FILES[1:], columns, strict=True):
            if len(column) != len(self):
                raise BundleError(
                    f"{folder / name}: {len(column)} entries, anime_id.npy has {len(self)}"
                )
        if not len(self) or self.anime_id[0] < 1 or np.any(np.diff(self.anime_id) <= 0):
            raise BundleError(f"{folder / 'anime_id.npy'}: should be ascending ids above 0")

    def __len__(self) -> int:
        return len(self.anime_id)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where each id of int64[N] stands in the catalogue, -1 where it does not."""
        return find(self.anime_id, ids)


def find(ascending: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each of `ids` stands in `ascending`, -1 where it does not."""
    rows = np.searchsorted(ascending, ids)
    last = len(ascending) - 1
    if last < 0:
        return np.full(len(ids), -1, np.intp)
    return np.where(ascending[np.minimum(rows, last)] == ids, rows, -1)


def load(path: Path, dtype: type[Kind], dimensions: int = 1) -> NDArray[Kind]:
    """An array of a bundle, memory-mapped; raises BundleError where it is of another type."""
    try:
        array = open_memmap(path, mode="r")  # unlike np.load, takes no archive and no pickle
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, EOFError, OverflowError, SyntaxError, TokenError) as error:
        raise BundleError(f"{path}: not a NumPy array ({error})") from error
    if array.ndim != dimensions or not np.issubdtype(array.dtype, dtype):
        kind = "vector" if dimensions == 1 else "matrix"
        raise BundleError(
            f"{path}: {array.dtype}{list(array.shape)}, should be a {kind} of {dtype.__name__}"
        )
    # A plain view: indexing a np.memmap costs several times that of the array it wraps.
    return cast(NDArray[Kind], array.view(np.ndarray))


def _texts(path: Path) -> list[str]:
    try:
        return [text.decode() for text in load(path, np.bytes_).tolist()]
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not UTF-8 ({error.reason})") from error
