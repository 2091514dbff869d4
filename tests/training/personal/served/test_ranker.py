from dataclasses import replace

import numpy as np
import pytest
import torch

from anirank.errors import ParityError
from bundles.bundle import Bundle
from bundles.graph import OUTPUTS
from export.bundle import Exported
from export.parity import TOLERANCE, as_form, check, requests
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Familiarity, Objective, Query, Ranking
from handlers.engine.torchscript_graph import TorchScriptGraph
from training.folding.served import Served
from training.personal.features.profiles import Profiles
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.served.ranker import PersonalRanker
from training.tables.tables import Tables


@pytest.fixture
def folded(personal: PersonalRun, tables: Tables) -> Served:
    return PersonalPreset().served(personal, tables)


@pytest.fixture(scope="module")
def bundle(personal_bundle: Exported) -> Bundle:
    return Bundle.open(personal_bundle.folder)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))


def test_every_form_is_the_training_model_to_a_unit_in_the_last_place(
    personal_bundle: Exported,
) -> None:
    difference = personal_bundle.parity.largest_difference
    assert difference.pop("training model, float32") <= TOLERANCE
    assert set(difference) == {"folded", "TorchScript", "ONNX", "compiled"}
    assert max(difference.values()) <= np.spacing(np.float32(10))


def test_one_cross_a_little_off_is_refused(folded: Served, tables: Tables) -> None:
    weights = folded.ranker.get_buffer("cross_weights")
    weights[1:, 0] += 1e-3
    batches = requests(tables, folded.profiles, 0)
    form = as_form(folded.ranker, tuple(OUTPUTS))
    with pytest.raises(ParityError, match="differs by"):
        check(folded.exact, folded.trained, {"form": form}, batches, len(tables.anime))


def test_what_one_watched_and_how_one_liked_it_changes_the_list(engine: Engine) -> None:
    ids = engine.bundle.catalogue.anime_id
    histories = [ids[:5], ids[60:65], ids[60:65]]
    ratings = [np.full(5, 9), np.full(5, 9), np.array([10, 10, 1, 1, 1])]
    queries = [
        Query(history_ids=h, history_ratings=r.astype(np.float32), top_k=20)
        for h, r in zip(histories, ratings, strict=True)
    ]
    first, second, third = engine.rank(queries)
    lists = [r.anime_ids.tolist() for r in (first, second, third) if isinstance(r, Ranking)]
    assert len(lists) == 3
    assert lists[0] != lists[1] != lists[2]
    assert all(
        not set(h.tolist()) & set(ranked) for h, ranked in zip(histories, lists, strict=True)
    )
    assert isinstance(first, Ranking)
    assert first.familiarity is Familiarity.NEW_WITH_HISTORY


def test_a_known_users_stored_history_is_taken_and_both_runtimes_agree(
    engine: Engine, bundle: Bundle
) -> None:
    user = int(bundle.histories.user_id[0])
    ids, ratings = bundle.histories.of(user)
    other = Engine(bundle, GraphScorer(bundle, TorchScriptGraph(bundle)))
    asked = [Query(user_id=user), Query(user_id=user, history_ids=ids, history_ratings=ratings)]
    answers = [each.rank(asked) for each in (engine, other)]
    rankings = [ranking for answer in answers for ranking in answer]
    first = rankings[0]
    assert isinstance(first, Ranking)
    for ranking in rankings[1:]:
        assert isinstance(ranking, Ranking)
        np.testing.assert_array_equal(ranking.anime_ids, first.anime_ids)
        np.testing.assert_array_equal(ranking.scores, first.scores)


def test_the_blended_score_is_affinity_and_beta_times_the_rating_above_the_mean(
    engine: Engine,
) -> None:
    [ranking] = engine.rank([Query(top_k=50, objective=Objective.BLENDED)])
    assert isinstance(ranking, Ranking)
    manifest = engine.bundle.manifest
    blended = ranking.affinities + np.float32(manifest.beta) * (
        ranking.ratings - np.float32(manifest.mean)
    )
    np.testing.assert_array_equal(ranking.scores, blended)
    assert np.all((ranking.ratings >= 1) & (ranking.ratings <= 10))


def test_without_genres_the_wide_part_is_the_sum_of_what_each_watched_anime_brings(
    personal: PersonalRun, tables: Tables
) -> None:
    model, profiles = PersonalModel.load(personal, tables), Profiles.load(personal.folder)
    model.mix = replace(model.mix, genres=0.0)
    ranker = PersonalRanker(model, profiles, tables)
    ids = tables.anime["anime_id"].to_numpy(np.int64)
    history, candidates = ids[[3, 7, 11]], ids[:200]

    def wide(*items: int) -> np.ndarray:
        outputs = ranker(
            torch.tensor([0]),
            torch.from_numpy(history[list(items)])[None],
            torch.full((1, len(items)), torch.nan),
            torch.full((1, 1 + len(profiles.scale)), torch.nan),
            torch.from_numpy(candidates)[None],
        )
        return outputs[2][0].double().numpy()

    parts = wide(0) + wide(1) + wide(2)
    np.testing.assert_allclose(wide(0, 1, 2), parts, atol=1e-6)
    assert np.abs(parts).max() > 0.01
