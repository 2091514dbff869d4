"""A bundle of format 1 as an earlier version wrote it: it loads, and it answers as it did."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict

from anirank.contract import ranking_pb2 as pb
from bundles.bundle import AFFINITY, GRAPHS, ONNX, TORCHSCRIPT, Bundle
from bundles.graph import Inputs
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.torchscript_graph import TorchScriptGraph
from handlers.local import LocalRanker

FIXTURES = Path(__file__).parent / "fixtures"
ANSWERS = json.loads((FIXTURES / "format-1.answers.json").read_text("utf-8"))
NUMBERS = ("score", "rating", "affinity", "wide")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("earlier")
    with tarfile.open(FIXTURES / "format-1.tar.xz") as archive:
        archive.extractall(store, filter="data")
    return store / "anime" / "1"


def test_it_is_verified_and_both_of_its_graphs_load(folder):
    bundle = Bundle.open(folder)
    assert [bundle.has(name) for name in GRAPHS] == [name != AFFINITY for name in GRAPHS]
    assert bundle.crosses is not None
    assert bundle.manifest.users is None  # it does not say
    some: Inputs = {
        "user_id": bundle.histories.user_id[:2].copy(),
        "history_ids": np.tile(bundle.catalogue.anime_id[:5], (2, 1)),
        "history_ratings": np.full((2, 5), 8, np.float32),
        "profile": np.full((2, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": np.tile(bundle.catalogue.anime_id, (2, 1)),
    }
    onnx, scripted = OnnxGraph(bundle).run(some), TorchScriptGraph(bundle).run(some)
    for name, found in onnx.items():
        np.testing.assert_allclose(found, scripted[name], rtol=2**-23, atol=1e-7, err_msg=name)


def test_the_files_that_every_reader_of_the_format_looks_for_are_there(folder):
    assert {ONNX, TORCHSCRIPT, "vocabularies.json"} <= set(Bundle.open(folder).manifest.files)


@pytest.fixture(scope="module")
def ranker(folder: Path) -> LocalRanker:
    return LocalRanker(folder)


@pytest.mark.parametrize("asked", ANSWERS, ids=[str(place) for place in range(len(ANSWERS))])
def test_it_answers_as_the_version_that_wrote_it(ranker: LocalRanker, asked: dict[str, Any]):
    kinds = {"Rank": pb.RankRequest, "Recommend": pb.RecommendRequest}
    found = ranker.answer(ParseDict(asked["request"], kinds[asked["method"]]()))
    expected = ParseDict(asked["reply"], pb.RankReply())
    found.ClearField("queue_time")
    found.ClearField("compute_time")
    found.ClearField("history_size")  # which that version did not say yet
    for now, then in zip(found.ranking, expected.ranking, strict=True):
        assert now.anime_id == then.anime_id  # the order, exactly
        for name in NUMBERS:
            np.testing.assert_array_max_ulp(
                np.float32(getattr(now, name)), np.float32(getattr(then, name)), 1
            )
            setattr(now, name, getattr(then, name))
        assert now.HasField("rest") == then.HasField("rest")
        if then.HasField("rest"):
            assert now.rest == pytest.approx(then.rest, abs=1e-6)
            now.rest = then.rest
        for reason, before in zip(now.reasons, then.reasons, strict=True):
            assert reason.contribution == pytest.approx(before.contribution, rel=2**-22)
            reason.contribution = before.contribution
    assert found == expected
