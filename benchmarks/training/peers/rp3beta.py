"""RP3beta (Paudel et al. 2017), of irspack: walks of three steps, popular anime held back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from irspack.recommenders import RP3betaRecommender

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """In closed form."""
    model = RP3betaRecommender(watched, **settings).learn()
    return lambda histories: np.asarray(model.get_score_cold_user(histories))


if __name__ == "__main__":
    answer(fit)
