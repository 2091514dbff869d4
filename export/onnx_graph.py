"""The served graph as ONNX, by torch.export, in one file."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn

from anirank.errors import ExportError
from bundles.graph import INPUTS, OUTPUTS, Inputs, Outputs
from export.example import example
from export.parity import Form

SIZES = {"B": "batch", "H": "history", "N": "candidates"}


def write_onnx(
    ranker: nn.Module, profile_columns: int, file: Path, metadata: Mapping[str, Any]
) -> Form:
    """Write ONNX to `file`, dynamic in batch, history and candidates; the form read back.

    `metadata` goes into the file as texts, what is not text as JSON. Raises ExportError where
    the exporter lost an input or a dynamic dimension.
    """
    dynamic = {
        name: {at: SIZES[size] for at, size in enumerate(port.shape) if size in SIZES}
        for name, port in INPUTS.items()
    }
    with _quiet_exporter():
        program = torch.onnx.export(
            ranker,
            example(profile_columns),
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
    for node in program.model.graph:  # else paths of the machine that exports go with the file
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(file, external_data=False)
    return open_form(file, tuple(OUTPUTS))


def open_form(file: Path, outputs: tuple[str, ...]) -> Form:
    """An ONNX file as a `Form`.

    Raises ExportError unless it has the inputs of the graph and these outputs, none of a fixed
    size but the profile.
    """
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for side, found, right in (
        ("inputs", session.get_inputs(), tuple(INPUTS)),
        ("outputs", session.get_outputs(), outputs),
    ):
        names = tuple(entry.name for entry in found)
        if names != right:
            raise ExportError(
                f"{file.name}: {side} are {', '.join(names)}; should be {', '.join(right)}"
            )
        for entry in found:
            if any(isinstance(size, int) for size in entry.shape if entry.name != "profile"):
                raise ExportError(f"{file.name}: {entry.name} has a fixed shape {entry.shape}")

    def run(inputs: Inputs) -> Outputs:
        return dict(zip(outputs, session.run(list(outputs), inputs), strict=True))

    return run


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    # The exporter logs its own passes and uses calls that Python deprecates.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
