"""The part of the ONNX graph that the affinity needs: as right as the whole, and hardly a file."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.utils import Extractor

from anirank.errors import ParityError
from bundles.bundle import AFFINITY, ONNX, Bundle
from bundles.graph import INPUTS, Inputs
from export.bundle import Exported
from export.onnx_graph import open_form
from export.onnx_part import agreeing


@pytest.fixture(scope="module", params=["personal_bundle", "toy_dir"])
def folder(request: pytest.FixtureRequest) -> Path:
    made: Exported | Path = request.getfixturevalue(request.param)
    return made if isinstance(made, Path) else made.folder


def inputs(bundle: Bundle, batch: int, history: int, candidates: int) -> Inputs:
    """Of the catalogue and beyond, of known users and others."""
    rng = np.random.default_rng(candidates)
    ids = np.append(bundle.catalogue.anime_id, [0, -1, 2**40])
    fields = len(bundle.manifest.profile)
    return {
        "user_id": rng.choice(np.append(bundle.histories.user_id, [0, -7]), batch),
        "history_ids": rng.choice(ids, (batch, history)),
        "history_ratings": rng.choice(np.array([np.nan, 1, 8], np.float32), (batch, history)),
        "profile": np.full((batch, fields), np.nan, np.float32),
        "candidate_ids": rng.choice(ids, (batch, candidates)),
    }


@pytest.mark.parametrize("shape", [(1, 0, 1), (4, 3, 0), (1, 40, 300), (5, 2_000, 7)])
def test_its_affinity_is_that_of_the_whole_graph_bit_for_bit(
    folder: Path, shape: tuple[int, int, int]
) -> None:
    asked = inputs(Bundle.open(folder), *shape)
    sessions = [
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in (ONNX, AFFINITY)
    ]
    whole, part = (session.run(["affinity"], asked)[0] for session in sessions)
    assert part.dtype == whole.dtype == np.float32
    assert part.tobytes() == whole.tobytes()


def test_it_is_a_valid_model_of_nothing_but_what_the_affinity_needs(folder: Path) -> None:
    onnx.checker.check_model(str(folder / AFFINITY))  # from its file, as its tables are elsewhere
    part = onnx.load(folder / AFFINITY)
    whole = onnx.load(folder / ONNX)
    expected = Extractor(whole).extract_model(list(INPUTS), ["affinity"])
    assert [node.output for node in part.graph.node] == [n.output for n in expected.graph.node]
    assert [entry.name for entry in part.graph.input] == list(INPUTS)
    assert [entry.name for entry in part.graph.output] == ["affinity"]
    tables = {table.name: table.raw_data for table in expected.graph.initializer}
    assert {table.name: table.raw_data for table in part.graph.initializer} == tables


def test_its_tables_are_those_of_the_whole_file_which_stays_whole(
    personal_bundle: Exported,
) -> None:
    folder = personal_bundle.folder
    assert (folder / AFFINITY).stat().st_size < (folder / ONNX).stat().st_size / 5
    part = onnx.load(folder / AFFINITY, load_external_data=False)
    outside = [table for table in part.graph.initializer if table.external_data]
    assert {"anime_vectors", "watched_vectors", "crossed"} <= {table.name for table in outside}
    for table in outside:
        assert {e.value for e in table.external_data if e.key == "location"} == {ONNX}
    whole = onnx.load(folder / ONNX, load_external_data=False)
    assert not [table.name for table in whole.graph.initializer if table.external_data]


def test_it_says_of_which_file_it_is_a_part(folder: Path) -> None:
    part = onnx.load(folder / AFFINITY, load_external_data=False)
    metadata = {entry.key: entry.value for entry in part.metadata_props}
    assert metadata["anirank.part_of"] == Bundle.open(folder).manifest.files[ONNX].sha256


def test_a_part_that_answers_anything_else_is_no_parity(folder: Path) -> None:
    whole = open_form(folder / ONNX, ("rating", "affinity", "wide", "known"))
    part = open_form(folder / AFFINITY, ("affinity",))
    asked = inputs(Bundle.open(folder), 2, 3, 5)
    assert agreeing(whole, part)(asked).keys() == {"rating", "affinity", "wide", "known"}
    with pytest.raises(ParityError, match="affinity alone is not that of the whole"):
        agreeing(whole, lambda given: {"affinity": part(given)["affinity"] + 1})(asked)


def test_a_model_whose_affinity_is_its_rating_has_no_part(bundle_dir: Path) -> None:
    assert not Bundle.open(bundle_dir).has(AFFINITY)
