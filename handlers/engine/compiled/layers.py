"""Layers of a network, as sums that keep the processor busy.

Sums of several rows are taken at once, since each would wait for its own last term. The number of
rows is the same whatever is asked, so that a sum is always taken in the same order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.engine.compiled.jit import compiled

BLOCK = 4  # vectors that `products` multiplies at once


@compiled
def dense(layer: NDArray[np.float32], units: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill float64[N] `out`; layer: float32[N, M + 1], the bias last; units: float64[M]."""
    size, width = len(layer), layer.shape[1] - 1
    for n in range(0, size, 4):
        # Beyond the last row, the last again.
        one, two = layer[n], layer[min(n + 1, size - 1)]
        three, four = layer[min(n + 2, size - 1)], layer[min(n + 3, size - 1)]
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for m in range(width):
            unit = units[m]
            a += one[m] * unit
            b += two[m] * unit
            c += three[m] * unit
            d += four[m] * unit
        out[min(n + 3, size - 1)] = d + four[width]
        out[min(n + 2, size - 1)] = c + three[width]
        out[min(n + 1, size - 1)] = b + two[width]
        out[n] = a + one[width]


@compiled
def relu(units: NDArray[np.float64]) -> None:
    """Nothing below zero, in place."""
    for n in range(len(units)):
        units[n] = max(units[n], 0.0)


@compiled
def products(weights: NDArray[Any], vectors: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill float64[B, N] `out` with float[N, :M] weights times each of float64[B, M] `vectors`.

    B is a multiple of `BLOCK`; weights may have more columns than M.
    """
    size, width = len(weights), vectors.shape[1]
    for n in range(0, size, 2):
        other = min(n + 1, size - 1)
        one, two = weights[n], weights[other]
        for v in range(0, len(vectors), 4):
            a, b, c, d = vectors[v], vectors[v + 1], vectors[v + 2], vectors[v + 3]
            a1, b1, c1, d1 = 0.0, 0.0, 0.0, 0.0
            a2, b2, c2, d2 = 0.0, 0.0, 0.0, 0.0
            for m in range(width):
                a1 += one[m] * a[m]
                b1 += one[m] * b[m]
                c1 += one[m] * c[m]
                d1 += one[m] * d[m]
                a2 += two[m] * a[m]
                b2 += two[m] * b[m]
                c2 += two[m] * c[m]
                d2 += two[m] * d[m]
            out[v, other], out[v + 1, other], out[v + 2, other], out[v + 3, other] = a2, b2, c2, d2
            out[v, n], out[v + 1, n], out[v + 2, n], out[v + 3, n] = a1, b1, c1, d1
