"""SANSA (Spišák et al. 2023), of its authors: EASE through a sparse factorisation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from sansa import (
    SANSA,
    ICFGramianFactorizerConfig,
    SANSAConfig,
    UMRUnitLowerTriangleInverterConfig,
)

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """`settings`: l2 and weight_matrix_density."""
    config = SANSAConfig(
        **settings,
        gramian_factorizer_config=ICFGramianFactorizerConfig(),
        lower_triangle_inverter_config=UMRUnitLowerTriangleInverterConfig(),
    )
    model = SANSA(config).fit(watched)
    return lambda histories: np.asarray(model.forward(histories).todense())


if __name__ == "__main__":
    answer(fit)
