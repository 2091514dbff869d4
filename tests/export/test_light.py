"""The graph for small places: what it answers, what it holds, and what it costs."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from anirank.errors import BundleError, ParityError, RunError
from bundles.bundle import LIGHT, LIGHT_CATALOGUE, MANIFEST, ONNX, Bundle
from bundles.files import sha256
from bundles.graph import OUTPUTS, Inputs, Outputs
from export.bundle import Exported, export
from export.card import CARD
from export.parity import as_form, check, requests
from tests.export.test_no_users import asked, ids_in
from tests.web.light import crosses
from tests.web.light import tables as tables_of
from training.comparison.evaluator import Evaluator, Row
from training.comparison.held_out import HeldOut
from training.personal.features.profiles import Profiles
from training.personal.model import PersonalModel
from training.personal.run import PersonalRun
from training.personal.served.light import LightRanker, rounded
from training.personal.served.reference import PersonalReference
from training.seed.run import SeedRun
from training.tables.tables import Tables


@pytest.fixture(scope="module")
def exported(personal_bundle: Exported) -> Exported:
    return personal_bundle


@pytest.fixture(scope="module")
def bundle(exported: Exported) -> Bundle:
    return Bundle.open(exported.folder)


@pytest.fixture(scope="module")
def session(exported: Exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported.folder / LIGHT)


def answers(session: onnxruntime.InferenceSession, inputs: Inputs) -> Outputs:
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True))


@pytest.fixture(scope="module")
def model(personal: PersonalRun, tables: Tables) -> PersonalModel:
    return PersonalModel.load(personal, tables)


@pytest.fixture
def ranker(personal: PersonalRun, tables: Tables, model: PersonalModel) -> LightRanker:
    return LightRanker(rounded(model), Profiles.load(personal.folder), tables)


def test_onnx_runtime_answers_as_the_module_in_torch(
    ranker: LightRanker,
    session: onnxruntime.InferenceSession,
    personal: PersonalRun,
    tables: Tables,
) -> None:
    form = as_form(ranker, tuple(OUTPUTS))
    profiles = Profiles.load(personal.folder).stated(tables.users)
    for batch in requests(tables, profiles, 1)[-6:]:
        for name, expected in form(batch).items():
            found = answers(session, batch)[name]
            np.testing.assert_allclose(found, expected, rtol=2**-22, atol=1e-7, err_msg=name)
            order, wanted = (
                np.argsort(-1.0 * each, axis=1, kind="stable") for each in (found, expected)
            )
            assert np.array_equal(order, wanted)


def test_a_code_that_is_another_is_refused(
    ranker: LightRanker, personal: PersonalRun, tables: Tables, model: PersonalModel
) -> None:
    profiles = Profiles.load(personal.folder)
    exact, trained = (
        PersonalReference(rounded(model).model, profiles, tables, kind)
        for kind in (torch.float64, torch.float32)
    )
    batches = requests(tables, profiles.stated(tables.users), 0)[-6:]
    form = as_form(ranker, tuple(OUTPUTS))
    check(exact, trained, {"form": form}, batches, len(tables.anime))
    ranker.cross_weights[:, 0] += 1
    with pytest.raises(ParityError, match="differs by"):
        check(exact, trained, {"form": form}, batches, len(tables.anime))


def test_its_signature_is_that_of_the_whole_graph(
    exported: Exported, session: onnxruntime.InferenceSession
) -> None:
    whole = onnxruntime.InferenceSession(exported.folder / ONNX)
    for side in ("get_inputs", "get_outputs"):
        ports = [
            [(port.name, port.type, len(port.shape)) for port in getattr(each, side)()]
            for each in (session, whole)
        ]
        assert ports[0] == ports[1]
    metadata = [each.get_modelmeta().custom_metadata_map for each in (session, whole)]
    assert metadata[0] == metadata[1]


def test_its_tables_and_its_catalogue_take_a_wide_score_apart(
    exported: Exported, bundle: Bundle, session: onnxruntime.InferenceSession
) -> None:
    inputs = asked(bundle, 2**40)
    found, anime = crosses(exported.folder, bundle), bundle.catalogue.anime_id
    assert np.any(found.weight)
    for at, wide in enumerate(answers(session, inputs)["wide"]):
        ids, ratings = inputs["history_ids"][at], inputs["history_ratings"][at]
        rows = bundle.catalogue.rows(ids)
        parts = found.contributions(rows[rows >= 0], ratings[rows >= 0], np.arange(len(anime)))
        summed = np.bincount(parts.candidate, parts.value, len(anime)) + parts.genre.sum(1)
        candidates = bundle.catalogue.rows(inputs["candidate_ids"][at])
        np.testing.assert_allclose(summed[candidates], wide, rtol=1e-6, atol=1e-6)


def test_cosines_of_what_its_vectors_are_kept_as_are_their_own(
    exported: Exported, model: PersonalModel
) -> None:
    codes, axes = rounded(model).axes["anime_vectors"]
    assert np.array_equal(tables_of(exported.folder)["anime_vectors"][1:], codes)
    square = axes @ axes.T
    np.testing.assert_allclose(square / square[0, 0], np.eye(len(axes)), atol=1e-12)


def test_nothing_of_a_user_is_in_it(exported: Exported, bundle: Bundle, tables: Tables) -> None:
    ids = tables.users["user_id"].to_numpy(np.int64)
    ids = ids[ids >= 100_000]
    for name in (LIGHT, LIGHT_CATALOGUE):
        assert not ids_in((exported.folder / name).read_bytes(), ids)
    assert ids_in((exported.folder / "histories" / "user_id.npy").read_bytes(), ids)
    # Of the tables of users, with a row for who is unknown, and of the rows of their ids.
    lengths = {bundle.histories.user_id.size + 1, int(bundle.histories.user_id.max()) + 1}
    whole, small = (
        {
            size
            for table in onnx.load(exported.folder / name).graph.initializer
            for size in table.dims
        }
        for name in (ONNX, LIGHT)
    )
    assert lengths <= whole
    assert not lengths & small


def test_everybody_is_a_new_user_to_it(
    bundle: Bundle, session: onnxruntime.InferenceSession
) -> None:
    stranger = answers(session, asked(bundle, 2**40))
    for user in (int(bundle.histories.user_id[3]), 0):
        for name, found in answers(session, asked(bundle, user)).items():
            np.testing.assert_array_equal(found, stranger[name])


def test_it_knows_the_same_anime_and_ranks_much_alike(
    exported: Exported, bundle: Bundle, session: onnxruntime.InferenceSession
) -> None:
    inputs = asked(bundle, 2**40)
    whole = answers(onnxruntime.InferenceSession(exported.folder / ONNX), inputs)
    small = answers(session, inputs)
    assert small["known"].all()
    for name in ("rating", "affinity"):
        assert not np.array_equal(small[name], whole[name])
    for one, other in zip(small["affinity"], whole["affinity"], strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.8
    assert np.abs(small["rating"] - whole["rating"]).max() < 0.5


def test_its_figures_are_those_of_the_file(
    exported: Exported,
    bundle: Bundle,
    session: onnxruntime.InferenceSession,
    personal: PersonalRun,
    tables: Tables,
    model: PersonalModel,
) -> None:
    parts = personal.parts(tables)
    held = HeldOut.test_rows(tables, parts)
    evaluator = Evaluator(tables, parts, held, model.expectation)
    known = bundle.manifest
    predicted = np.zeros((len(tables.users), len(tables.anime)))

    def scores(users: np.ndarray) -> np.ndarray:
        rows = []
        for user in users:
            history = np.flatnonzero(tables.ratings.user_row[parts.known] == user)
            rated = parts.known[history]
            inputs = {
                "user_id": np.array([0]),
                "history_ids": bundle.catalogue.anime_id[tables.ratings.anime_row[rated]][None],
                "history_ratings": tables.ratings.rating[rated].astype(np.float32)[None],
                "profile": np.full((1, len(known.profile)), np.nan, np.float32),
                "candidate_ids": bundle.catalogue.anime_id[None],
            }
            found = answers(session, inputs)
            predicted[user] = found["rating"][0]
            rows.append(found["affinity"][0] + known.beta * (found["rating"][0] - known.mean))
        return np.array(rows, dtype=np.float32)

    row = evaluator.lists(Row("light"), scores)
    row = evaluator.ratings(row, predicted[evaluator.pairs])
    assert known.light is not None
    small, whole = known.light["metrics"]["light"], known.light["metrics"]["whole"]
    for name in ("ndcg", "recall_50", "rmse"):
        assert small[name] == pytest.approx(row[name], abs=2e-4), name
    served = {line["model"]: line for line in known.metrics["lines"]}
    ours = served.get("and the rating") or served["wide and deep"]
    assert whole["ndcg"] == pytest.approx(ours["ndcg"])
    assert whole["rmse"] == pytest.approx(ours["rmse"])
    card = (exported.folder / CARD).read_text("utf-8")
    assert f"NDCG@10 {small['ndcg']:.3f} beside {whole['ndcg']:.3f}" in card


def test_the_catalogue_for_pages_is_that_of_the_bundle(
    exported: Exported, bundle: Bundle, tables: Tables
) -> None:
    page = json.loads((exported.folder / LIGHT_CATALOGUE).read_text("utf-8"))
    manifest = json.loads((exported.folder / MANIFEST).read_text("utf-8"))
    for key in ("name", "version", "label", "profile", "score", "wide"):
        assert page[key] == manifest[key]
    catalogue, facets = bundle.catalogue, bundle.facets
    assert page["anime_id"] == catalogue.anime_id.tolist()
    assert page["title"] == [catalogue.titles[row] for row in range(len(catalogue))]
    assert page["adult"] == catalogue.adult.astype(int).tolist()
    assert facets.years is not None
    assert page["years"] == facets.years.tolist()
    for row in range(0, len(catalogue), 7):
        of = {name: column["of"][row] for name, column in page["facets"].items()}
        values = {name: column["values"] for name, column in page["facets"].items()}
        genres = [values["genres"][at] for at in of["genres"]]
        assert sorted(genres) == sorted(tables.anime["genres"][row])
        kind = values["types"][of["types"]] if of["types"] >= 0 else ""
        assert kind == (tables.anime["type"][row] or "")


def test_the_manifest_vouches_for_it_and_a_copy_may_be_without(
    exported: Exported, bundle: Bundle, tmp_path: Path
) -> None:
    for name in (LIGHT, LIGHT_CATALOGUE):
        assert bundle.manifest.files[name].sha256 == sha256(exported.folder / name)
    copy = Path(shutil.copytree(exported.folder, tmp_path / "copy"))
    content = (copy / LIGHT).read_bytes()
    (copy / LIGHT).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"light/ranker\.onnx: SHA-256"):
        Bundle.open(copy)
    shutil.rmtree(copy / "light")
    assert Bundle.open(copy).manifest.light == bundle.manifest.light


def test_the_archive_does_without(exported: Exported) -> None:
    with zipfile.ZipFile(exported.archive) as archive:
        names = archive.namelist()
    assert "bundle/manifest.json" in names
    assert not [name for name in names if "light" in name]


def test_a_preset_that_has_none_says_so_and_writes_nothing(run: SeedRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="of the preset seed, of which none has a light graph"):
        export(run, tmp_path, "anime", "1", light=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
