import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.utils import Extractor

from bundles.bundle import ONNX
from bundles.manifest import INPUTS, OUTPUTS
from handlers.engine.onnx_part import onnx_part


@pytest.fixture(scope="module", params=["bundle_dir", "personal_dir", "toy_dir"])
def model(request):
    return (request.getfixturevalue(request.param) / ONNX).read_bytes()


@pytest.fixture(scope="module")
def personal_dir(personal_bundle):
    return personal_bundle.folder


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_part_is_the_one_that_onnxs_own_extractor_finds(model, output):
    found = onnx.load_from_string(onnx_part(model, (output,)))
    onnx.checker.check_model(found)
    whole = onnx.load_from_string(model)
    expected = Extractor(whole).extract_model(list(INPUTS), [output])
    assert [node.output for node in found.graph.node] == [n.output for n in expected.graph.node]
    tables = {table.name for table in expected.graph.initializer}
    assert {table.name for table in found.graph.initializer} == tables
    assert [entry.name for entry in found.graph.input] == list(INPUTS)
    assert [entry.name for entry in found.graph.output] == [output]
    assert found.opset_import == whole.opset_import
    onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])


def test_all_outputs_are_the_whole(model):
    assert onnx.load_from_string(onnx_part(model, OUTPUTS)).graph.node == (
        onnx.load_from_string(model).graph.node
    )


def test_an_output_that_is_not_there_is_an_error_that_names_those_that_are(model):
    with pytest.raises(ValueError, match="outputs are affinity, known, rating, wide; wanted none"):
        onnx_part(model, ("none",))


@pytest.mark.parametrize(
    "junk", [b"\x3a", b"\x3a\xff\xff\x03", b"\xff" * 20, b"\x3b", b"\x39\0", b"\x3a\x02\x0a\x05"]
)
def test_bytes_that_are_no_model_are_refused(junk):
    with pytest.raises(ValueError, match="not protocol buffers"):
        onnx_part(junk, ("affinity",))


def test_cut_off_anywhere_it_is_refused_or_read_but_never_anything_else(model):
    for end in np.random.default_rng(0).integers(0, len(model), 50):
        try:
            onnx_part(model[:end], ("affinity",))
        except ValueError:
            continue
