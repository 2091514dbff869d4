"""EDLAE (Steck 2020), of irspack: EASE as if a part of each history were hidden."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from irspack.recommenders import EDLAERecommender

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """In closed form."""
    model = EDLAERecommender(watched, **settings).learn()
    return lambda histories: np.asarray(model.get_score_cold_user(histories))


if __name__ == "__main__":
    answer(fit)
