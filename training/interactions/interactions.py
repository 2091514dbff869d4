"""What users have watched, as sparse rows, and as a batch for the network."""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from training.interactions.expectation import USER_DAMPING, Expectation
from training.interactions.product import product
from training.tables.tables import Ratings

USERS_AT_ONCE = 256  # in one batch of histories over the whole catalogue


class History(NamedTuple):
    """A batch of users' histories.

    `length`: float32[B], ratings in each; `offset`: float32[B], how far they lie above what their
    anime let expect, damped; `watched`, `liked`: sparse float32[B, A], ones, and ratings above
    expectation; `crossed`, `crossed_liked`: float32[B, A], both times the crosses; `alike`,
    `alike_liked`: float32[B, A], both times the likeness of anime.
    """

    length: Tensor
    offset: Tensor
    watched: Tensor
    liked: Tensor
    crossed: Tensor
    crossed_liked: Tensor
    alike: Tensor
    alike_liked: Tensor


class Ties(NamedTuple):
    """What ties one anime to others: sparse float32[A, A], row = watched, column = candidate."""

    crosses: sp.csr_array
    alike: sp.csr_array

    def among(self, anime: np.ndarray) -> "Ties":
        """Those among the anime at int64[M]."""
        return Ties(*(each[anime][:, anime] for each in self))


class Interactions(NamedTuple):
    """`watched`, `residual`: float32[U, A] of one structure: ones, and rating less what the anime
    lets expect."""

    watched: sp.csr_array
    residual: sp.csr_array

    @classmethod
    def of(
        cls, ratings: Ratings, rows: np.ndarray, expectation: Expectation, users: int
    ) -> "Interactions":
        """The ratings at `rows`, int64[n], of `users` users."""
        order = rows[np.lexsort((ratings.anime_row[rows], ratings.user_row[rows]))]
        counts = np.bincount(ratings.user_row[order], minlength=users)
        ends, columns = np.append(0, np.cumsum(counts)), ratings.anime_row[order]
        shape = (users, len(expectation.anime))
        residual = expectation.residuals(ratings, order).astype(np.float32)
        ones = np.ones(len(order), dtype=np.float32)
        return cls(
            sp.csr_array((ones, columns, ends), shape=shape),
            sp.csr_array((residual, columns, ends), shape=shape),
        )

    @classmethod
    def nobody(cls, anime: int) -> "Interactions":
        """Of one user who has watched none of a catalogue of `anime` titles."""
        empty = sp.csr_array(np.zeros((1, anime), dtype=np.float32))
        return cls(empty, empty.copy())

    def at(self, users: np.ndarray) -> "Interactions":
        """Those of the users at int64[B]."""
        return Interactions(self.watched[users], self.residual[users])

    def lengths(self, users: np.ndarray) -> np.ndarray:
        """How many anime each of the users at int64[B] has, int64[B]."""
        ends = self.watched.indptr
        return np.asarray(ends[users + 1] - ends[users], dtype=np.int64)

    def parted(self, kept: np.ndarray) -> tuple["Interactions", np.ndarray, np.ndarray]:
        """Those where `kept`, bool[nnz]; and the users and anime of the others, int64 each."""
        user = np.repeat(np.arange(self.watched.shape[0]), np.diff(self.watched.indptr))
        column = self.watched.indices
        ends = np.append(0, np.cumsum(np.bincount(user[kept], minlength=self.watched.shape[0])))
        remaining = Interactions(
            *(
                sp.csr_array((each.data[kept], column[kept], ends), shape=each.shape)
                for each in self
            )
        )
        return remaining, user[~kept], column[~kept].astype(np.int64)

    def history(self, ties: Ties, device: torch.device) -> History:
        """As the network takes it, joined with what the anime are tied to."""
        count = np.diff(self.watched.indptr)
        offset = np.asarray(self.residual.sum(axis=1)).ravel() / (count + USER_DAMPING)
        liked = self.residual.copy()
        liked.data = liked.data - np.repeat(offset, count).astype(np.float32)

        def dense(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32, copy=False)).to(device)

        return History(
            dense(count),
            dense(offset),
            sparse_tensor(self.watched).to(device),
            sparse_tensor(liked).to(device),
            *(dense(product(own, tie)) for tie in ties for own in (self.watched, liked)),
        )


def sparse_tensor(matrix: sp.csr_array) -> torch.Tensor:
    """The same as a tensor, in the type of its data."""
    ends, columns = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    with warnings.catch_warnings():
        # PyTorch calls the format beta; products with dense matrices are all that is asked of it.
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(ends),
            torch.from_numpy(columns),
            torch.from_numpy(matrix.data),
            matrix.shape,
            check_invariants=False,
        )
