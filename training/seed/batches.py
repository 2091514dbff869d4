"""Batches gathered from tensors in memory: two index arrays beside one table a side."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.seed.encoders import SIDES, Encoders, labels
from training.tables.tables import Ratings, Tables

# Gathering for many small batches at once spreads the cost of a call over them.
GATHERED_AT_ONCE = 1 << 15


class Batch(NamedTuple):
    """`codes`: int64[B, W]; `deep`: float32[B, D]; `label`: float32[B]."""

    codes: Tensor
    deep: Tensor
    label: Tensor


class Batches:
    """The features of every user and anime, and ratings that point at them."""

    def __init__(
        self, tables: Tables, encoders: Encoders, ratings: Ratings, device: torch.device
    ) -> None:
        self._codes, self._deep = [], []
        for side in SIDES:
            encoded = encoders.side(tables, side)
            scaled = encoders.standardise(encoded.deep, side).astype(np.float32)
            self._codes.append(torch.from_numpy(encoded.codes).to(device))
            self._deep.append(torch.from_numpy(scaled).to(device))
        # Copied: tables read from disk may be mapped read-only, which torch does not know.
        self._rows = [
            torch.tensor(ratings.user_row, device=device),
            torch.tensor(ratings.anime_row, device=device),
        ]
        self._label = torch.from_numpy(labels(tables, encoders.settings, ratings)).to(device)
        self.device = device

    def gather(self, rows: Tensor, batch_size: int) -> Iterator[Batch]:
        """The ratings at `rows`, int64[n], in their order, `batch_size` at a time."""
        at_once = max(1, GATHERED_AT_ONCE // batch_size) * batch_size
        for chunk in rows.split(at_once):
            sides = [side[chunk].long() for side in self._rows]
            codes = torch.cat([t[at] for t, at in zip(self._codes, sides, strict=True)], dim=1)
            deep = torch.cat([t[at] for t, at in zip(self._deep, sides, strict=True)], dim=1)
            parts = (codes, deep, self._label[chunk])
            yield from map(Batch._make, zip(*(p.split(batch_size) for p in parts), strict=True))

    def shuffled(self, rows: np.ndarray, seed: int, epoch: int) -> Tensor:
        """`rows` in the order of one epoch: the same for the same seed and epoch."""
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(rows), generator=generator)
        return torch.from_numpy(rows)[order].to(self.device)
