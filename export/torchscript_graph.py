"""The served graph as TorchScript, by tracing."""

from pathlib import Path

import torch
from torch import nn

from bundles.graph import OUTPUTS, quiet_torchscript
from export.example import example
from export.parity import Form, as_form


def write_torchscript(ranker: nn.Module, profile_columns: int, file: Path) -> Form:
    """Write TorchScript to `file`; the form that was read back from it."""
    with quiet_torchscript():
        traced = torch.jit.trace(ranker, example(profile_columns), check_trace=False)
        torch.jit.save(traced, file)
        return as_form(torch.jit.load(file), tuple(OUTPUTS))
