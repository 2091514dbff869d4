"""What somebody who wrote an unknown value may have meant."""

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

_LONGEST = 60  # characters that are compared; no value of the dump has more
_NEAR = 0.6  # the ratio of difflib from which on words are alike, by its documentation
_BEGINNING = 3  # letters of a beginning, as PG-13, that are enough to mean the whole
_BINS = 64
_COMPARED = 20


class Nearest:
    """The known values of one column.

    difflib takes 10 ms for a thousand of them. How many letters two texts share bounds its ratio
    from above: only those with the highest bounds are compared, as long as one can be nearer.
    """

    def __init__(self, values: Sequence[str]) -> None:
        """Count the letters of `values`."""
        self._values = values
        self._folded = [value.casefold() for value in values]
        self._lengths = np.array([len(value) for value in self._folded], np.int64)
        self._letters = np.array([_letters(value) for value in self._folded]).reshape(-1, _BINS)

    def to(self, text: str) -> str | None:
        """The value nearest to a text, whatever the case; None where none is near."""
        asked = text[:_LONGEST].casefold()
        for value, folded in zip(self._values, self._folded, strict=True):
            if len(asked) >= _BEGINNING and folded.startswith(asked):
                return value
        shared = np.minimum(self._letters, _letters(asked)).sum(1)
        highest = 2 * shared / np.maximum(self._lengths + len(asked), 1)
        best, found, compared = _NEAR, None, SequenceMatcher(None, "", asked)
        for place in np.argsort(-highest, kind="stable")[:_COMPARED].tolist():
            if highest[place] < best or best == 1:
                break
            compared.set_seq1(self._folded[place])
            ratio = compared.ratio()
            if ratio > best or (ratio == best and found is None):
                best, found = ratio, self._values[place]
        return found


def _letters(text: str) -> NDArray[np.int64]:
    """int64[64], how often each letter stands in a text; some letters share a place."""
    return np.bincount([ord(letter) % _BINS for letter in text], minlength=_BINS)
