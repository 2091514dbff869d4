"""Inputs of the graph to trace it with."""

import torch
from torch import Tensor


def example(profile_columns: int) -> tuple[Tensor, ...]:
    """In the order of `INPUTS`; what is computed from them says nothing."""
    # No size is 0 or 1: the exporter would take it for fixed. No two dynamic sizes are equal.
    batch, history, candidates = 2, 5, 7
    return (
        torch.zeros(batch, dtype=torch.int64),
        torch.zeros(batch, history, dtype=torch.int64),
        torch.zeros(batch, history),
        torch.full((batch, profile_columns), torch.nan),
        torch.zeros(batch, candidates, dtype=torch.int64),
    )
