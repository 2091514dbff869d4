"""The product of two sparse matrices where few places of it stay empty.

SciPy makes it sparse, which goes through it twice, sorts out where it is not 0, and still leaves it
to be spread out. Here every term is added where it belongs, in SciPy's order.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
import torch

from training.interactions.compiled import compiled

ROWS_AT_ONCE = 32  # of a thread: they are not equally full


def product(left: sp.csr_array, right: sp.csr_array) -> np.ndarray:
    """`left` @ `right`, float32[N, K] of float32[N, M] and float32[M, K]; in PyTorch's threads."""
    whole = np.zeros((left.shape[0], right.shape[1]), np.float32)
    factors = (*_arrays(left), *_arrays(right))

    def add(start: int) -> None:
        _add(whole, start, min(start + ROWS_AT_ONCE, len(whole)), *factors)

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for _ in threads.map(add, range(0, len(whole), ROWS_AT_ONCE)):
            pass  # raises what a thread did
    return whole


def _arrays(matrix: sp.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr, matrix.indices, matrix.data


@compiled()
def _add(
    whole: np.ndarray,
    start: int,
    end: int,
    left_ends: np.ndarray,
    left_columns: np.ndarray,
    left_values: np.ndarray,
    right_ends: np.ndarray,
    right_columns: np.ndarray,
    right_values: np.ndarray,
) -> None:
    """Add up the rows from `start` to `end`."""
    for row in range(start, end):
        for x in range(left_ends[row], left_ends[row + 1]):
            value, between = left_values[x], left_columns[x]
            for y in range(right_ends[between], right_ends[between + 1]):
                whole[row, right_columns[y]] += value * right_values[y]
