"""The served graph written down: TorchScript by tracing, ONNX by torch.export."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from anirank.errors import ExportError
from export.parity import Form, as_form
from training.folding.served import Inputs

INPUTS = {
    "user_id": ("int64", ("B",)),
    "history_ids": ("int64", ("B", "H")),
    "history_ratings": ("float32", ("B", "H")),
    "profile": ("float32", ("B", "P")),
    "candidate_ids": ("int64", ("B", "N")),
}
OUTPUTS = {
    "rating": ("float32", ("B", "N")),
    "affinity": ("float32", ("B", "N")),
    "wide": ("float32", ("B", "N")),
    "known": ("bool", ("B", "N")),
}
SIZES = {"B": "batch", "H": "history", "N": "candidates"}


def signature() -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs as the manifest lists them."""
    return {
        side: [{"name": n, "type": t, "shape": list(shape)} for n, (t, shape) in entries.items()]
        for side, entries in (("inputs", INPUTS), ("outputs", OUTPUTS))
    }


def trace(ranker: nn.Module, profile_columns: int, file: Path) -> Form:
    """Write TorchScript to `file`; the form that was read back from it."""
    with _deprecated_torchscript():
        torch.jit.save(torch.jit.trace(ranker, _example(profile_columns), check_trace=False), file)
        return as_form(torch.jit.load(file), tuple(OUTPUTS))


def to_onnx(ranker: nn.Module, profile_columns: int, file: Path, metadata: dict[str, Any]) -> Form:
    """Write ONNX to `file`, dynamic in batch, history and candidates; the form read back.

    `metadata` goes into the file as texts, what is not text as JSON. Raises ExportError where
    the exporter lost an input or a dynamic dimension.
    """
    dynamic = {
        name: {at: SIZES[size] for at, size in enumerate(shape) if size in SIZES}
        for name, (_, shape) in INPUTS.items()
    }
    with _quiet_exporter():
        program = torch.onnx.export(
            ranker,
            _example(profile_columns),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value)
        program.model.metadata_props[f"anirank.{key}"] = text
    program.save(file, external_data=False)
    return _onnx_form(file)


def _onnx_form(file: Path) -> Form:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for side, found in (("input", session.get_inputs()), ("output", session.get_outputs())):
        names = [entry.name for entry in found]
        if names != list(INPUTS if side == "input" else OUTPUTS):
            raise ExportError(f"{file.name}: {side}s are {', '.join(names)}")
        for entry in found:
            if any(isinstance(size, int) for size in entry.shape if entry.name != "profile"):
                raise ExportError(f"{file.name}: {entry.name} has a fixed shape {entry.shape}")

    def run(inputs: Inputs) -> dict[str, np.ndarray]:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True))

    return run


def _example(profile_columns: int) -> tuple[Tensor, ...]:
    # No size is 0 or 1: the exporter would take it for fixed. No two dynamic sizes are equal.
    batch, history, candidates = 2, 5, 7
    return (
        torch.zeros(batch, dtype=torch.int64),
        torch.zeros(batch, history, dtype=torch.int64),
        torch.zeros(batch, history),
        torch.full((batch, profile_columns), torch.nan),
        torch.zeros(batch, candidates, dtype=torch.int64),
    )


@contextmanager
def _deprecated_torchscript() -> Iterator[None]:
    # torch.jit warns that torch.export replaces it; TorchServe reads TorchScript.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    # The exporter logs its own passes and uses calls that Python deprecates.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)
