"""The .npy files of a bundle."""

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError  # raised for some headers that NumPy cannot read
from typing import Any, TypeVar, cast

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import files

Kind = TypeVar("Kind", bound=np.generic)


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


def save(path: Path, array: NDArray[Any], dtype: type[np.generic]) -> None:
    """Write an array, whole or not at all; raises TypeError where it is not of `dtype`."""
    if not np.issubdtype(array.dtype, dtype):
        raise TypeError(f"{path.name}: {array.dtype}, should be {dtype.__name__}")
    with files.whole(path) as scratch, scratch.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_texts(path: Path) -> list[str]:
    """Texts of a bundle; raises BundleError where they are none."""
    try:
        return [text.decode() for text in load(path, np.bytes_).tolist()]
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not UTF-8 ({error.reason})") from error


def save_texts(path: Path, texts: Sequence[str]) -> None:
    """Write texts as UTF-8, padded to the longest with NUL, which no text may end with.

    Raises ValueError where one does.
    """
    if any(text.endswith("\0") for text in texts):
        raise ValueError(f"{path.name}: a text ends with NUL")
    save(path, np.array([text.encode() for text in texts], np.bytes_), np.bytes_)
