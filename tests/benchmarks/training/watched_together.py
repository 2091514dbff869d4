"""A recommender as those of other libraries are run: what was watched together, less a share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """`settings`: exponent, of how many watched it."""
    counts = np.asarray(watched.sum(axis=0)).ravel()
    together = np.asarray((watched.T @ watched).todense()) / counts ** settings["exponent"]
    return lambda histories: histories @ together


if __name__ == "__main__":
    answer(fit)
