"""Layers of a network, a vector at a time."""

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled


@compiled
def dense(layer: NDArray[np.float64], units: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill float64[N] `out`; layer: float64[N, M + 1], the bias last; units: float64[M]."""
    width = layer.shape[1] - 1
    for n in range(len(layer)):
        weights, total = layer[n], 0.0
        for m in range(width):
            total += weights[m] * units[m]
        out[n] = total + weights[width]


@compiled
def dense_relu(
    layer: NDArray[np.float64], units: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """As `dense`, and nothing below zero."""
    dense(layer, units, out)
    for n in range(len(out)):
        out[n] = max(out[n], 0.0)
