"""What served graphs are made of: raw ids to rows, look-ups, layers in float64.

A served graph computes in float64 and answers in float32. Two runtimes never add up float32
products in the same order, and a catalogue always holds titles closer than that difference: only
the wider type makes every runtime, batch shape and device give one answer and one order, to the
bit.
"""

import numpy as np
import torch
from torch import Tensor, nn


class IdMap(nn.Module):
    """Raw ids to rows, 0 for every id that is not known; a dense table over the id range."""

    rows: Tensor

    def __init__(self, ids: np.ndarray) -> None:
        super().__init__()
        rows = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.int32)
        rows[ids] = np.arange(1, len(ids) + 1)
        self.register_buffer("rows", torch.from_numpy(rows))

    def forward(self, ids: Tensor) -> Tensor:
        """`ids`: int64 of any shape and any value; int64 rows of the same shape."""
        inside = (ids > 0) & (ids < self.rows.shape[0])
        return look_up(self.rows, torch.where(inside, ids, torch.zeros_like(ids))).long()


def look_up(table: Tensor, rows: Tensor) -> Tensor:
    """The rows of `table`, in the shape of `rows`; in ONNX a Gather, where `[]` is a GatherND."""
    found: Tensor = table.index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return found


def code(values: Tensor, table: Tensor) -> Tensor:
    """Float codes as rows of `table`, 0 ("unknown") where there is no such row."""
    inside = (values >= 0) & (values < table.shape[0])
    return torch.where(inside, values, torch.zeros_like(values)).long()


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer in float64."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).double()
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


def narrow(weights: np.ndarray) -> np.ndarray:
    """Trained weights in float32, which they were trained in: none of float64 `weights` changes."""
    found = weights.astype(np.float32)
    assert np.array_equal(found, weights), "are no weights as they were trained"
    return found
