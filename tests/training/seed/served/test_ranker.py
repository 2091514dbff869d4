import numpy as np
import pytest
import torch

from training.folding.layers import IdMap
from training.seed.run import SeedRun
from training.seed.served.ranker import SeedRanker
from training.seed.served.reference import SeedReference
from training.tables.tables import Tables


@pytest.fixture(scope="module")
def ranker(run: SeedRun, tables: Tables) -> SeedRanker:
    encoders = run.encoders()
    return SeedRanker(run.model(encoders), encoders, tables)


def rate(
    ranker: SeedRanker, user: int, candidates: list[int], profile: list[float] | None = None
) -> dict[str, np.ndarray]:
    columns = ranker.user_profile.shape[1]
    outputs = ranker(
        torch.tensor([user]),
        torch.zeros(1, 0, dtype=torch.int64),
        torch.zeros(1, 0),
        torch.tensor([profile or [torch.nan] * columns]),
        torch.tensor([candidates], dtype=torch.int64),
    )
    names = ("rating", "affinity", "wide", "known")
    return {name: output[0].numpy() for name, output in zip(names, outputs, strict=True)}


def test_any_int64_is_an_id_and_only_those_of_the_data_are_known() -> None:
    ids = IdMap(np.array([3, 7]))
    asked = torch.tensor([3, 7, 0, -1, 8, 4, 2**63 - 1, -(2**63), 2**32 + 3])
    assert ids(asked).tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0]


def test_a_stranger_is_rated_for_like_the_training_models_unknown_user(
    ranker: SeedRanker, run: SeedRun, tables: Tables
) -> None:
    encoders = run.encoders()
    reference = SeedReference(run.model(encoders).double(), encoders, tables)
    some = tables.anime["anime_id"].tolist()[:20]
    nothing = np.full(ranker.user_profile.shape[1], np.nan, dtype=np.float32)
    expected = reference.rate(-5, nothing, np.array(some)).astype(np.float32)
    assert np.array_equal(rate(ranker, 0, some)["rating"], expected)
    assert np.array_equal(rate(ranker, 2**40, some)["rating"], expected)


def test_a_profile_in_the_request_takes_the_place_of_the_stored_one(
    ranker: SeedRanker, tables: Tables
) -> None:
    user = int(tables.users["user_id"][3])
    some = tables.anime["anime_id"].tolist()[:20]
    stored = ranker.user_profile[4].tolist()
    as_stored = rate(ranker, user, some)["rating"]
    assert np.array_equal(rate(ranker, user, some, stored)["rating"], as_stored)
    other = [stored[0], stored[1] + 100, *stored[2:]]
    assert not np.array_equal(rate(ranker, user, some, other)["rating"], as_stored)


def test_affinity_is_the_rating_and_wide_is_a_part_of_it(
    ranker: SeedRanker, tables: Tables
) -> None:
    outputs = rate(ranker, int(tables.users["user_id"][0]), tables.anime["anime_id"].tolist())
    assert np.array_equal(outputs["affinity"], outputs["rating"])
    assert outputs["known"].all()
    # The deep part differs from anime to anime, so the wide part cannot be the whole.
    assert np.std(outputs["affinity"] - outputs["wide"]) > 1e-3


def test_a_candidates_rating_depends_on_no_neighbour_to_the_bit(
    ranker: SeedRanker, tables: Tables
) -> None:
    user = int(tables.users["user_id"][1])
    ids = tables.anime["anime_id"].tolist()
    together = rate(ranker, user, ids)["rating"]
    alone = np.concatenate([rate(ranker, user, [each])["rating"] for each in ids])
    assert np.array_equal(alone, together)
