import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anirank.errors import BundleError
from bundles.bundle import AFFINITY, ONNX, Bundle
from handlers.engine.external_data import check_external_data
from handlers.engine.onnx_graph import OnnxGraph
from tests.handlers.facade.versions.test_reload import relist


def outside(location="secret.bin"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    if location is not None:
        tensor.external_data.add(key="location", value=location)
    return tensor


def graph_with(nodes=(), **parts):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    return helper.make_graph(list(nodes), "g", [x], [x], **parts)


def model(graph, **parts):
    return helper.make_model(graph, **parts)


def in_a_constant():
    return model(graph_with([helper.make_node("Constant", [], ["y"], value=outside())]))


def in_a_list_of_tensors():
    return model(graph_with([helper.make_node("Any", [], ["y"], values=[outside()])]))


def in_a_branch():
    inner = graph_with(initializer=[outside()])
    deeper = graph_with([helper.make_node("If", ["x"], ["y"], then_branch=inner)])
    return model(graph_with([helper.make_node("If", ["x"], ["y"], graphs=[deeper])]))


def in_a_sparse_tensor():
    sparse = helper.make_sparse_tensor(outside(), helper.make_tensor("i", 7, [1], [0]), [4])
    return model(graph_with(sparse_initializer=[sparse]))


def in_a_function():
    node = helper.make_node("Constant", [], ["y"], value=outside())
    opset = [helper.make_opsetid("", 17)]
    return model(
        graph_with(), functions=[helper.make_function("own", "f", ["x"], ["y"], [node], opset)]
    )


def without_saying_so():
    tensor = outside()
    tensor.ClearField("data_location")
    return model(graph_with(initializer=[tensor]))


def after_one_that_is_allowed():
    return model(graph_with(initializer=[outside(ONNX), outside()]))


@pytest.mark.parametrize(
    "made",
    [
        lambda: model(graph_with(initializer=[outside()])),
        in_a_constant,
        in_a_list_of_tensors,
        in_a_branch,
        in_a_sparse_tensor,
        in_a_function,
        without_saying_so,
        after_one_that_is_allowed,
    ],
)
def test_a_model_that_takes_weights_from_another_file_is_refused_by_its_name(made, tmp_path):
    path = tmp_path / ONNX
    path.write_bytes(made().SerializeToString())
    with pytest.raises(BundleError, match=r"from the file 'secret\.bin', should from ranker"):
        check_external_data(path, allowed=ONNX)
    with pytest.raises(BundleError, match=r"takes weights from the file .*, should from none"):
        check_external_data(path)


def test_weights_outside_of_no_named_file_are_refused(tmp_path):
    path = tmp_path / ONNX
    path.write_bytes(model(graph_with(initializer=[outside(None)])).SerializeToString())
    with pytest.raises(BundleError, match="from the file ''"):
        check_external_data(path, allowed=ONNX)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 20,
        b"\x3a\x7f\x01",
        b"\x3b",
        b"\x08",
        b"\x0d\x00",
        b"\xba\x80\x80\x80\x10\x00",
    ],
)
def test_what_is_no_message_is_refused(content, tmp_path):
    path = tmp_path / ONNX
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"ranker\.onnx: not an ONNX model"):
        check_external_data(path)


def test_the_graphs_of_our_own_export_pass(toy_dir):
    check_external_data(toy_dir / ONNX)
    check_external_data(toy_dir / AFFINITY, allowed=ONNX)


def test_a_bundle_whose_graph_reads_a_file_beside_it_is_not_loaded(store):
    folder = store / "toy" / "1"
    graph = onnx.load(folder / ONNX)
    table = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    (folder / "beside.bin").write_bytes(np.zeros_like(numpy_helper.to_array(table)).tobytes())
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value="beside.bin")
    (folder / ONNX).write_bytes(graph.SerializeToString())
    relist(folder, ONNX)
    (folder / AFFINITY).unlink()
    with pytest.raises(BundleError, match=r"ranker\.onnx: takes weights from the file 'beside"):
        OnnxGraph(Bundle.open(folder))
