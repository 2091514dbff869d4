"""SLIM (Ning & Karypis 2011), of irspack: a sparse regression of each anime on the others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from irspack.recommenders import SLIMRecommender

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """By coordinate descent."""
    model = SLIMRecommender(watched, **settings).learn()
    return lambda histories: np.asarray(model.get_score_cold_user(histories))


if __name__ == "__main__":
    answer(fit)
