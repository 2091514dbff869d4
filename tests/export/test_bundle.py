import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from anirank.errors import ExportError, ParityError
from bundles.bundle import ONNX
from bundles.graph import INPUTS, OUTPUTS
from export import bundle
from export.bundle import Exported, export
from training.folding.served import Served
from training.seed.preset import SeedPreset
from training.seed.run import SeedRun
from training.seed.settings import SeedSettings
from training.tables.tables import Tables, adult

Train = Callable[[Tables, SeedSettings, Path], SeedRun]


def test_the_manifest_lists_every_file_with_its_digest(bundle_dir: Path, run: SeedRun) -> None:
    manifest = json.loads((bundle_dir / "manifest.json").read_text("utf-8"))
    there = {p.relative_to(bundle_dir).as_posix() for p in bundle_dir.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == there - {"manifest.json"}
    for name, listed in manifest["files"].items():
        content = (bundle_dir / name).read_bytes()
        assert listed == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["data_fingerprint"] == run.fingerprint
    assert manifest["libraries"]["torch"] == importlib.metadata.version("torch")
    assert manifest["metrics"]["against"]["Score"]["rmse"] > 0


def test_parity_is_recorded_and_exact(exported: Exported, bundle_dir: Path) -> None:
    parity = json.loads((bundle_dir / "manifest.json").read_text("utf-8"))["parity"]
    assert parity == exported.parity.to_dict()
    assert parity["order"] == "identical"
    assert parity["scores"] > 300 * 64
    for form in ("folded", "TorchScript", "ONNX"):
        assert parity["largest_difference"][form] == 0.0


def test_the_onnx_file_is_whole_and_says_what_it_is(bundle_dir: Path) -> None:
    model = onnx.load(bundle_dir / "ranker.onnx", load_external_data=False)
    onnx.checker.check_model(model)
    assert not [t.name for t in model.graph.initializer if t.external_data]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["anirank.name"] == "anime"
    assert json.loads(metadata["anirank.profile"])[0]["name"] == "gender"
    session = onnxruntime.InferenceSession(bundle_dir / "ranker.onnx")
    assert [i.name for i in session.get_inputs()] == list(INPUTS)
    assert [o.name for o in session.get_outputs()] == list(OUTPUTS)


@pytest.mark.parametrize(("batch", "history", "candidates"), [(1, 0, 1), (3, 4, 0), (5, 1, 9)])
def test_onnx_takes_any_batch_history_and_number_of_candidates(
    bundle_dir: Path, batch: int, history: int, candidates: int
) -> None:
    session = onnxruntime.InferenceSession(bundle_dir / "ranker.onnx")
    columns = session.get_inputs()[3].shape[1]
    outputs = session.run(
        None,
        {
            "user_id": np.zeros(batch, np.int64),
            "history_ids": np.zeros((batch, history), np.int64),
            "history_ratings": np.zeros((batch, history), np.float32),
            "profile": np.full((batch, columns), np.nan, np.float32),
            "candidate_ids": np.ones((batch, candidates), np.int64),
        },
    )
    assert all(output.shape == (batch, candidates) for output in outputs)
    assert np.isfinite(outputs[0]).all()


def test_the_catalogue_and_the_histories_are_those_of_the_data(
    bundle_dir: Path, tables: Tables
) -> None:
    def read(name: str) -> np.ndarray:
        array: np.ndarray = np.load(bundle_dir / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    assert [title.decode() for title in read("catalogue/title")] == tables.anime["name"].tolist()
    assert read("catalogue/adult").tolist() == [
        rating == "Rx - Hentai" or "Hentai" in genres
        for rating, genres in zip(tables.anime["age_rating"], tables.anime["genres"], strict=True)
    ]
    user_id, offsets = read("histories/user_id"), read("histories/offsets")
    assert (np.diff(user_id) > 0).all()
    place = int(np.searchsorted(user_id, 366396))
    stored = slice(offsets[place], offsets[place + 1])
    row = tables.users.index[tables.users["user_id"] == 366396][0]
    mine = tables.ratings.user_row == row
    ids = tables.anime["anime_id"].to_numpy()[tables.ratings.anime_row[mine]]
    assert read("histories/anime_id")[stored].tolist() == ids.tolist()
    assert read("histories/rating")[stored].tolist() == tables.ratings.rating[mine].tolist()


def test_a_title_is_adult_by_its_age_rating_or_by_its_genre() -> None:
    anime = pd.DataFrame(
        {
            "age_rating": ["Rx - Hentai", None, "R+ - Mild Nudity", None],
            "genres": [[], ["Comedy", "Hentai"], ["Ecchi"], []],
        }
    )
    assert adult(anime).tolist() == [True, True, False, False]


def test_a_version_never_changes(run: SeedRun, exported: Exported) -> None:
    store = exported.archive.parent
    before = (exported.folder / "manifest.json").read_bytes()
    with pytest.raises(ExportError, match="a version never changes"):
        export(run, store, "anime", "1")
    assert (exported.folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "version"), [("../x", "1"), ("a b", "1"), ("anime", ".."), ("", "1")]
)
def test_a_name_unfit_for_a_path_is_refused(
    run: SeedRun, tmp_path: Path, name: str, version: str
) -> None:
    with pytest.raises(ExportError, match="use letters"):
        export(run, tmp_path, name, version)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_export_without_parity_leaves_nothing(
    trained: Train,
    tables: Tables,
    seed_settings: SeedSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trained(tables, seed_settings, tmp_path / "run")
    fold = SeedPreset.served

    def slightly_off(preset: SeedPreset, run: SeedRun, tables: Tables, *given: Any) -> Served:
        made = fold(preset, run, tables, *given)
        made.ranker.get_buffer("anime_wide").add_(1e-3)
        return made

    monkeypatch.setattr(SeedPreset, "served", slightly_off)
    with pytest.raises(ParityError, match=r"differs by 0\.001"):
        export(run, tmp_path / "store", "anime", "1")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_the_onnx_file_says_nothing_of_the_machine_that_made_it(bundle_dir: Path) -> None:
    assert str(Path(bundle.__file__).parents[1]).encode() not in (bundle_dir / ONNX).read_bytes()
