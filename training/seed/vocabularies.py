"""Vocabularies: label encoders whose row 0 is "unknown"."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

UNKNOWN = 0


@dataclass(frozen=True)
class Vocabulary:
    """Distinct values in ascending order; `values[i]` has the code i + 1, anything else 0."""

    values: tuple[str | int, ...]

    @classmethod
    def fit(cls, values: pd.Series) -> "Vocabulary":
        """The distinct values of `values`."""
        return cls(tuple(sorted(values.unique().tolist())))

    def encode(self, values: pd.Series) -> np.ndarray:
        """Codes of `values`, as int64[n] in 0..len(self.values)."""
        return np.asarray(pd.Index(self.values).get_indexer(pd.Index(values)) + 1, dtype=np.int64)

    @property
    def size(self) -> int:
        """Number of codes, the unknown one included."""
        return len(self.values) + 1
