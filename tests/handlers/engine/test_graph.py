import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch

from anirank.errors import BundleError, DeviceUnavailable
from bundles.bundle import AFFINITY, ONNX, TORCHSCRIPT, Bundle
from bundles.graph import Inputs, quiet_torchscript
from handlers.engine.graph import Graph
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.torchscript_graph import TorchScriptGraph

SHAPES = [(1, 0, 1), (3, 0, 7), (1, 5, 200), (4, 2, 1)]
KINDS: list[Callable[..., Graph]] = [OnnxGraph, TorchScriptGraph]
FIELDS = 3  # of the profile in the `personal` bundle of the tests


def inputs(batch: int, history: int, candidates: int, fields: int = 2) -> Inputs:
    random = np.random.default_rng(1)
    return {
        "user_id": random.integers(-5, 500, batch),
        "history_ids": random.integers(-5, 250, (batch, history)),
        "history_ratings": random.integers(1, 11, (batch, history)).astype(np.float32),
        "profile": np.full((batch, fields), np.nan, np.float32),
        "candidate_ids": random.integers(-5, 250, (batch, candidates)),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_both_forms_of_the_graph_give_one_answer_for_any_shape(toy, shape):
    onnx, scripted = (kind(toy).run(inputs(*shape)) for kind in KINDS)
    for name, dtype in (("rating", "f4"), ("affinity", "f4"), ("wide", "f4"), ("known", "?")):
        assert onnx[name].shape == (shape[0], shape[2])
        assert onnx[name].dtype == scripted[name].dtype == dtype
        np.testing.assert_array_equal(onnx[name], scripted[name])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bundle", ["toy_dir", "bundle_dir", "personal_dir"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_affinity_alone_is_that_of_the_whole_graph(request, bundle, kind, shape):
    opened = Bundle.open(request.getfixturevalue(bundle))
    batch, history, candidates = shape
    graph, some = kind(opened), inputs(batch, history, candidates, len(opened.manifest.profile))
    np.testing.assert_array_equal(graph.affinity(some), graph.run(some)["affinity"])


@pytest.fixture(scope="session")
def personal_dir(personal_bundle):
    return personal_bundle.folder


@pytest.fixture
def personal_copy(personal_dir, tmp_path):
    return shutil.copytree(personal_dir, tmp_path / "anime" / "1")


def test_a_bundle_without_the_part_has_the_whole_graph_answer_the_same(personal_dir, personal_copy):
    (personal_copy / AFFINITY).unlink()
    whole, some = OnnxGraph(Bundle.open(personal_copy)), inputs(2, 30, 100, FIELDS)
    part = OnnxGraph(Bundle.open(personal_dir))
    np.testing.assert_array_equal(whole.affinity(some), part.affinity(some))


def test_the_part_is_loaded_at_once_and_needs_its_files_no_more(personal_copy):
    graph = OnnxGraph(Bundle.open(personal_copy))
    asked = inputs(1, 3, 5, FIELDS)
    before = graph.run(asked)["affinity"]
    shutil.rmtree(personal_copy)
    np.testing.assert_array_equal(graph.affinity(asked), before)


def test_the_part_is_not_loaded_beside_a_graph_that_has_changed(personal_copy):
    bundle = Bundle.open(personal_copy)
    content = (personal_copy / ONNX).read_bytes()
    (personal_copy / ONNX).write_bytes(content[::-1])
    with pytest.raises(BundleError, match=f"{ONNX}: changed after it was verified"):
        OnnxGraph(bundle)


def test_the_part_of_another_graph_is_refused(personal_copy, toy_dir):
    shutil.copyfile(toy_dir / AFFINITY, personal_copy / AFFINITY)
    with pytest.raises(BundleError, match=rf"{AFFINITY}: (part of a .* not of|.*cannot load it)"):
        OnnxGraph(Bundle.open(personal_copy, verify=False))


@pytest.mark.parametrize(("kind", "name"), [(OnnxGraph, ONNX), (TorchScriptGraph, TORCHSCRIPT)])
def test_a_file_that_is_no_graph_is_an_error_that_names_it(toy_dir, tmp_path, kind, name):
    folder = shutil.copytree(toy_dir, tmp_path / "toy" / "1")
    (folder / name).write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=rf"{name}: (not an ONNX model|.* cannot load it)"):
        kind(Bundle.open(folder, verify=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", ""])
def test_a_device_that_is_none_is_refused(toy, kind, device):
    with pytest.raises(DeviceUnavailable, match="should be cpu, cuda or cuda:INDEX"):
        kind(toy, device)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("device", ["cuda:0", "cuda:99"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu_instead(toy, kind, device):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceUnavailable, match=device):
        kind(toy, device)


@pytest.mark.parametrize("bundle", ["toy_dir", "bundle_dir", "personal_dir"])
def test_no_device_stands_in_torchscript_as_a_constant(request, bundle):
    file = request.getfixturevalue(bundle) / TORCHSCRIPT
    with quiet_torchscript():
        graph = torch.jit.load(file).inlined_graph
    # A trace on the CPU would carry it to every GPU, where the graph then fails.
    assert 'Device = prim::Constant[value="cpu"]' not in str(graph)


def on_a_gpu(kind: Callable[..., Graph], bundle: Bundle) -> Graph:
    """The graph on the first GPU; skips where there is none that its library can use."""
    try:
        return kind(bundle, "cuda:0")
    except DeviceUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bundle", "fields"), [("toy_dir", 2), ("bundle_dir", None), ("personal_dir", FIELDS)]
)
def test_a_gpu_answers_as_the_cpu(request, bundle, fields, kind):
    opened = Bundle.open(request.getfixturevalue(bundle))
    gpu, cpu = on_a_gpu(kind, opened), kind(opened)
    for shape in SHAPES:
        some = inputs(*shape, len(opened.manifest.profile) if fields is None else fields)
        one, other = gpu.run(some), cpu.run(some)
        np.testing.assert_array_equal(one["known"], other["known"])
        for name in ("rating", "affinity", "wide"):
            # Sums in another order, in float64: at most a unit in the last place of float32.
            np.testing.assert_array_max_ulp(one[name], other[name], maxulp=1)
            np.testing.assert_array_equal(
                np.argsort(-one[name], kind="stable"), np.argsort(-other[name], kind="stable")
            )


def test_without_a_history_a_place_of_padding_changes_nothing(personal_dir):
    graph = OnnxGraph(Bundle.open(personal_dir))
    empty = inputs(3, 0, 50, FIELDS)
    padded = empty | {
        "history_ids": np.zeros((3, 1), np.int64),
        "history_ratings": np.full((3, 1), np.nan, np.float32),
    }
    one, other = graph.run(empty), graph.run(padded)
    for name, found in one.items():
        np.testing.assert_array_equal(found, other[name])
