"""Dropout of a batch that ranks share."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Rows(NamedTuple):
    """`here`: which rows of a batch are this rank's; `whole`: how many the batch has."""

    here: slice
    whole: int


class SharedDropout(nn.Dropout):
    """Drops the same units of a row whatever rank it is on.

    `rows`: which are to come; None: a whole batch. For the same draws on all ranks, each draws for
    the whole batch.
    """

    rows: Rows | None = None

    def forward(self, values: Tensor) -> Tensor:
        """float32[n, D]."""
        if self.rows is None or not self.training:
            return super().forward(values)
        drawn = F.dropout(values.new_ones(self.rows.whole, values.shape[1]), self.p)
        return values * drawn[self.rows.here]
