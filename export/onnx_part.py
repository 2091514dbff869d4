"""The part of the ONNX graph that its affinity needs, in a file that has no tables of its own.

ONNX Runtime computes every node of a model whatever outputs are asked for
(https://github.com/microsoft/onnxruntime/issues/16013), so that who wants only the affinity, which
costs a fraction of the rating, needs a model of its own. Its tables are nearly all of the whole
file's: as external data (https://onnx.ai/onnx/repo-docs/ExternalData.html) they stay in that file,
from which ONNX Runtime maps them into memory where they stand.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto
from onnx.external_data_helper import set_external_data
from onnx.utils import Extractor

from anirank.errors import ParityError
from bundles.files import sha256
from bundles.graph import INPUTS, Inputs, Outputs
from export.onnx_graph import open_form
from export.parity import Form

# Bytes; what is smaller is not worth a place in another file.
SMALLEST = 1024


def write_affinity(whole: Path, part: Path) -> Form:
    """Write to `part` what the affinity needs of `whole`, beside it; the form read back.

    The part names, as its `anirank.part_of`, the SHA-256 of the file that it is of.
    """
    content = whole.read_bytes()
    model = Extractor(onnx.load_from_string(content)).extract_model(list(INPUTS), ["affinity"])
    for table in _looked_up(model.graph):
        place = content.find(table.raw_data)
        assert place >= 0, table.name  # the whole file writes its tables as they are
        set_external_data(table, whole.name, offset=place, length=len(table.raw_data))
        table.ClearField("raw_data")
    model.metadata_props.add(key="anirank.part_of", value=sha256(whole))
    part.write_bytes(model.SerializeToString())
    return open_form(part, ("affinity",))


def agreeing(whole: Form, part: Form) -> Form:
    """The answers of `whole`; raises ParityError where those of `part` are others, to the bit."""

    def run(inputs: Inputs) -> Outputs:
        outputs = whole(inputs)
        if not np.array_equal(part(inputs)["affinity"], outputs["affinity"], equal_nan=True):
            raise ParityError("ONNX: the affinity alone is not that of the whole graph")
        return outputs

    return run


def _looked_up(graph: GraphProto) -> list[TensorProto]:
    """The tables of which rows are taken and nothing else.

    A file does not align what it holds. Copying rows out is indifferent to that; arithmetic need
    not be, so what it works on stands in the part itself.
    """
    computed_with = {
        name
        for node in graph.node
        for place, name in enumerate(node.input)
        if node.op_type != "Gather" or place
    }
    return [
        table
        for table in graph.initializer
        if table.name not in computed_with and len(table.raw_data) >= SMALLEST
    ]
