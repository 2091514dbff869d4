"""Matrix factorisation of ratings with biases, by alternating least squares.

rating = mean + b_u + b_i + p_u · q_i (Koren, Bell & Volinsky 2009, "Matrix factorization
techniques for recommender systems"). With one side fixed the other is a ridge regression per row,
on the fixed side's vectors and a one, whose weight is the bias. So a user who was not there when
it was fitted gets a vector from a history like everybody else.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

FACTORS = 32
ROUNDS = 12  # of both sides; the error on validation has settled by then
# Penalty of a row of n ratings: on its factors the sum of both, on its bias the last. By validation
# on real ratings.
RIDGE, RIDGE_PER_RATING, BIAS_RIDGE = 12.0, 0.06, 2.0
ROWS_AT_ONCE = 20_000  # of normal equations, 8 kB each


@dataclass(frozen=True)
class Factorisation:
    """`anime`: float32[A, F + 1], vectors and, last, biases; zeros where nobody rated it."""

    anime: np.ndarray

    @classmethod
    def fit(cls, offsets: sp.csr_array, seed: int = 0) -> "Factorisation":
        """Fit on `offsets`, [U, A]: ratings less their mean; a zero offset is stored too."""
        rng = np.random.default_rng(seed)
        by_anime = offsets.T.tocsr()
        start = rng.normal(0, 0.1, (offsets.shape[1], FACTORS + 1)).astype(np.float32)
        start[:, FACTORS] = 0
        model = cls(start)
        for _ in range(ROUNDS):
            model = cls(_solve(by_anime, model.users(offsets)))
        return model

    def users(self, offsets: sp.csr_array) -> np.ndarray:
        """Vectors and biases of users by their ratings less the mean, float32[U, F + 1]."""
        return _solve(offsets, self.anime)

    def predict(self, users: np.ndarray, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """Offsets from the mean of pairs of rows, int64[n] each; `users` as `users` gives them."""
        left, right = users[user], self.anime[anime]
        product = np.einsum("nf,nf->n", left[:, :FACTORS], right[:, :FACTORS])
        return np.asarray(product + left[:, FACTORS] + right[:, FACTORS])

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Offsets from the mean of every anime, float32[U, A]."""
        product = users[:, :FACTORS] @ self.anime[:, :FACTORS].T
        return np.asarray(product + users[:, FACTORS:] + self.anime[:, FACTORS])


def _solve(offsets: sp.csr_array, fixed: np.ndarray) -> np.ndarray:
    """The ridge regression of each row of `offsets` on the fixed side's vectors."""
    features = fixed.copy()
    features[:, FACTORS] = 1
    left, right = np.triu_indices(FACTORS + 1)
    products = features[:, left] * features[:, right]
    bias = fixed[:, FACTORS]
    solved = np.zeros((offsets.shape[0], FACTORS + 1), dtype=np.float32)
    rated = np.flatnonzero(np.diff(offsets.indptr))
    for start in range(0, len(rated), ROWS_AT_ONCE):
        rows = rated[start : start + ROWS_AT_ONCE]
        part = offsets[rows]
        remaining, ones = part.copy(), part.copy()
        remaining.data = part.data - bias[part.indices]
        ones.data = np.ones_like(part.data)
        gram = np.empty((len(rows), FACTORS + 1, FACTORS + 1), dtype=np.float32)
        gram[:, left, right] = gram[:, right, left] = ones @ products
        diagonal = np.einsum("nff->nf", gram)
        diagonal[:, :FACTORS] += (RIDGE + RIDGE_PER_RATING * np.diff(part.indptr))[:, np.newaxis]
        diagonal[:, FACTORS] += BIAS_RIDGE
        solved[rows] = np.linalg.solve(gram, (remaining @ features)[:, :, np.newaxis])[:, :, 0]
    return solved
