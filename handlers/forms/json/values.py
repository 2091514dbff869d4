"""Values of parsed JSON, and what is wrong with them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from anirank.errors import Fault, quoted
from handlers.engine.refusal import Refusal

_INT64 = np.iinfo(np.int64)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of 64 bits."""
    return type(value) is int and _INT64.min <= value <= _INT64.max


def no_integer(value: object) -> str:
    """The fault of a value that should be one."""
    return f"{quoted(value)} is not a 64-bit integer"


def integer(
    item: Mapping[str, object],
    key: str,
    refusal: Refusal,
    default: int | None = None,
    folder: str = "",
) -> int | None:
    """The integer at a key, the default where there is none; folder: the path of the item."""
    value = item.get(key)
    if value is None:
        return default
    if not is_integer(value):
        refusal.add(f"{folder}{key}", no_integer(value))
        return default
    return value


def ids(
    values: object, path: str, least: int, most: int, refusal: Refusal
) -> NDArray[np.int64] | None:
    """int64[N] of a list of `least` to `most` ids; None where it is none."""
    if not isinstance(values, list):
        refusal.add(path, f"{quoted(values)} is not a list")
        return None
    if not refusal.bounded(path, len(values), least, most):
        return None
    if set(map(type, values)) <= {int}:  # of all that are right it is known at once
        with contextlib.suppress(OverflowError):
            return np.array(values, np.int64)
    wrong = [i for i, value in enumerate(values) if not is_integer(value)]
    refusal.extend(len(wrong), (Fault(f"{path}[{i}]", no_integer(values[i])) for i in wrong))
    return None if wrong else np.array(values, np.int64)


def flag(item: Mapping[str, object], key: str, refusal: Refusal) -> bool:
    """The truth value at a key, False where there is none."""
    value = item.get(key, False)
    if not isinstance(value, bool):
        refusal.add(key, f"{quoted(value)} is not true or false")
        return False
    return value


def an_object(value: object, path: str, refusal: Refusal) -> dict[str, Any]:
    """A value that should be an object; an empty one in place of another."""
    if isinstance(value, dict):
        return value
    refusal.add(path, f"{quoted(value)} is not a JSON object")
    return {}


def only(item: Mapping[str, object], keys: Sequence[str], folder: str, refusal: Refusal) -> None:
    """Take down the keys of an object that are not known; folder: its path, and a dot."""
    unknown = [key for key in item if key not in keys]
    if not unknown:
        return
    reason = f"is not known; known are {', '.join(keys)}"
    refusal.extend(len(unknown), (Fault(f"{folder}{key[:100]}" or '""', reason) for key in unknown))
