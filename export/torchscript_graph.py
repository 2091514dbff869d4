"""The served graph as TorchScript, by tracing."""

import io
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
        written = io.BytesIO()  # a file that has no room for it would be the end of the process
        torch.jit.save(traced, written)
        file.write_bytes(written.getbuffer())
        return as_form(torch.jit.load(file), tuple(OUTPUTS))
