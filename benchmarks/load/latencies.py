"""Latencies as an HdrHistogram: merged without loss, and written down as it is."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

SHORTEST_US, LONGEST_US = 1, 120_000_000  # what is outside is counted at the edge
DIGITS = 3  # of every value that are kept


class Latencies:
    """How long calls took, in microseconds inside and in milliseconds outside."""

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        """Hold `seconds`."""
        self._counts: Any = HdrHistogram(SHORTEST_US, LONGEST_US, DIGITS)
        for value in seconds:
            self._counts.record_value(min(max(round(value * 1e6), SHORTEST_US), LONGEST_US))

    @classmethod
    def decode(cls, text: str) -> "Latencies":
        """The latencies that `encode` wrote."""
        read = cls()
        read._counts = HdrHistogram.decode(text)
        return read

    def encode(self) -> str:
        """The histogram in HdrHistogram's own compressed form, base64."""
        return str(self._counts.encode().decode("ascii"))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Latencies.decode, (self.encode(),))

    def add(self, other: "Latencies") -> None:
        """Take in the counts of another."""
        self._counts.add(other._counts)

    def __len__(self) -> int:
        return int(self._counts.get_total_count())

    def ms(self, percentile: float) -> float:
        """Milliseconds that `percentile` percent of the calls stay within; 0 where none is."""
        return float(self._counts.get_value_at_percentile(percentile)) / 1e3

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Percentiles (0 to 100) and the milliseconds at each, for a plot; up to the last call."""
        count = len(self)
        if count == 0:
            return np.empty(0), np.empty(0)
        # Evenly spaced on the axis of nines, as far as there are calls to tell of.
        nines = np.linspace(0, np.log10(count), 200)
        percentiles = np.unique(100 * (1 - 10**-nines))
        return percentiles, np.array([self.ms(each) for each in percentiles])
