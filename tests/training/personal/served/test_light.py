import numpy as np
import pytest
import torch

from training.personal.features.profiles import Profiles
from training.personal.model import PersonalModel
from training.personal.run import PersonalRun
from training.personal.served import light
from training.personal.served.light import CHOSEN, LightRanker, Rounded, rounded
from training.tables.tables import Tables

KEPT = 20


@pytest.fixture(scope="module")
def model(personal: PersonalRun, tables: Tables) -> PersonalModel:
    return PersonalModel.load(personal, tables)


@pytest.fixture(scope="module")
def made(model: PersonalModel) -> Rounded:
    return rounded(model, CHOSEN._replace(crosses=KEPT))


@pytest.fixture(scope="module")
def ranker(made: Rounded, personal: PersonalRun, tables: Tables) -> LightRanker:
    return LightRanker(made, Profiles.load(personal.folder), tables)


def test_the_largest_crosses_of_each_anime_are_kept(model: PersonalModel, made: Rounded) -> None:
    step = made.steps["cross_weights"]
    whole, small = (each.ties.crosses.toarray() for each in (model, made.model))
    for one, kept in zip(whole, small, strict=True):
        assert np.count_nonzero(kept) <= KEPT
        largest = np.sort(np.abs(one))[-KEPT:]
        assert np.abs(one - kept)[np.abs(one) >= largest[0]].max(initial=0) <= 0.51 * step
        assert not kept[np.abs(one) < largest[0]].any()


def test_of_each_anime_the_most_like_it_are_kept(made: Rounded) -> None:
    counts = np.count_nonzero(made.model.ties.alike.toarray(), axis=0)
    assert 0 < counts.max() <= CHOSEN.alike


def test_tables_hold_whole_numbers_in_few_bytes(ranker: LightRanker, made: Rounded) -> None:
    tables = ranker.state_dict()
    for name in ("anime_vectors", "watched_vectors", "cross_weights"):
        assert tables[name].dtype == torch.int8
    assert tables["likeness"].dtype == torch.uint8
    for name in ("crossed", "alike", "anime_rows.rows", "appeal", "expected"):
        assert tables[name].dtype == torch.int16
    for codes, _ in made.axes.values():
        assert np.array_equal(codes, np.round(codes))


def test_an_anime_that_crosses_to_nothing_has_no_row(ranker: LightRanker, made: Rounded) -> None:
    some = np.diff(made.model.ties.crosses.indptr) > 0
    assert 0 < some.sum() < len(some)
    assert len(ranker.crossed) == len(ranker.cross_weights) == some.sum() + 1
    assert np.array_equal(ranker.crossing[1:].numpy() > 0, some)


def test_what_is_rounded_is_a_number_of_float32(made: Rounded) -> None:
    for tie, name in zip(made.model.ties, ("cross_weights", "likeness"), strict=True):
        codes = tie.data.astype(np.float64) / made.steps[name]
        assert np.array_equal(codes, np.round(codes))
    for weights in made.model.network.mlp.parameters():
        assert torch.equal(weights.float().double(), weights)


def test_nobody_is_known_to_it(ranker: LightRanker, made: Rounded) -> None:
    assert not made.model.users.any()
    assert len(ranker.user_profile) == len(ranker.user_rows.rows) == 1


def test_the_model_that_was_rounded_stays_as_it_is(
    model: PersonalModel, personal: PersonalRun, tables: Tables, made: Rounded
) -> None:
    again = PersonalModel.load(personal, tables)
    assert made.model.network is not model.network
    for name, weights in again.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], weights)
    assert np.array_equal(model.ties.crosses.data, again.ties.crosses.data)


def test_a_catalogue_too_large_for_int16_takes_int32(
    made: Rounded, personal: PersonalRun, tables: Tables, ranker: LightRanker, monkeypatch
) -> None:
    monkeypatch.setattr(light, "OFFSET", len(tables.anime) // 2)
    large = LightRanker(made, Profiles.load(personal.folder), tables)
    assert large.crossed.dtype == large.anime_rows.rows.dtype == torch.int32
    ids = tables.anime["anime_id"].to_numpy(np.int64)
    some = (
        torch.zeros(1, dtype=torch.int64),
        torch.from_numpy(ids[None, :9]),
        torch.full((1, 9), 8.0),
        torch.full((1, ranker.user_profile.shape[1]), torch.nan),
        torch.from_numpy(ids[None]),
    )
    for one, other in zip(large(*some), ranker(*some), strict=True):
        assert torch.equal(one, other)
