import numpy as np
import pytest
import torch

from anirank.errors import BundleError, DeviceUnavailable
from bundles.bundle import ONNX, TORCHSCRIPT, Bundle
from handlers.engine.graph import OnnxGraph, TorchScriptGraph

KINDS = [(OnnxGraph, ONNX), (TorchScriptGraph, TORCHSCRIPT)]


def inputs(batch, history, candidates):
    random = np.random.default_rng(1)
    return {
        "user_id": random.integers(-5, 500, batch),
        "history_ids": random.integers(-5, 250, (batch, history)),
        "history_ratings": random.integers(1, 11, (batch, history)).astype(np.float32),
        "profile": np.full((batch, 2), np.nan, np.float32),
        "candidate_ids": random.integers(-5, 250, (batch, candidates)),
    }


@pytest.mark.parametrize("shape", [(1, 0, 1), (3, 0, 7), (1, 5, 200), (4, 2, 1)])
def test_both_forms_of_the_graph_give_one_answer_for_any_shape(toy, shape):
    onnx, scripted = (kind(toy.graph_file(name)).run(inputs(*shape)) for kind, name in KINDS)
    for name, dtype in (("rating", "f4"), ("affinity", "f4"), ("wide", "f4"), ("known", "?")):
        assert onnx[name].shape == (shape[0], shape[2])
        assert onnx[name].dtype == scripted[name].dtype == dtype
        np.testing.assert_array_equal(onnx[name], scripted[name])


@pytest.mark.parametrize("shape", [(1, 0, 1), (3, 0, 7), (1, 5, 200), (4, 2, 1)])
@pytest.mark.parametrize("bundle", ["toy_dir", "bundle_dir", "personal_dir"])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_affinity_alone_is_that_of_the_whole_graph(request, bundle, kind, name, shape):
    opened = Bundle.open(request.getfixturevalue(bundle))
    graph, some = kind(opened.graph_file(name)), inputs(*shape)
    some["profile"] = np.full((shape[0], len(opened.manifest.profile)), np.nan, np.float32)
    np.testing.assert_array_equal(graph.affinity(some), graph.run(some)["affinity"])


@pytest.fixture(scope="session")
def personal_dir(personal_bundle):
    return personal_bundle.folder


@pytest.mark.parametrize("kind", [OnnxGraph, TorchScriptGraph])
def test_a_file_that_is_no_graph_is_an_error_that_names_it(tmp_path, kind):
    path = tmp_path / "ranker"
    path.write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"ranker: .* cannot load it"):
        kind(path)


@pytest.mark.parametrize(("kind", "name"), KINDS)
@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", ""])
def test_a_device_that_is_none_is_refused(toy, kind, name, device):
    with pytest.raises(DeviceUnavailable, match="should be cpu, cuda or cuda:INDEX"):
        kind(toy.graph_file(name), device)


@pytest.mark.parametrize(("kind", "name"), KINDS)
@pytest.mark.parametrize("device", ["cuda:0", "cuda:99"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu_instead(toy, kind, name, device):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceUnavailable, match=device):
        kind(toy.graph_file(name), device)


def test_torchscript_on_a_gpu_answers_as_on_the_cpu(toy):
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    path, some = toy.graph_file(TORCHSCRIPT), inputs(3, 4, 50)
    one, other = TorchScriptGraph(path, "cuda:0").run(some), TorchScriptGraph(path).run(some)
    for name, found in one.items():
        np.testing.assert_array_equal(found, other[name])
