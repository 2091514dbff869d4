"""Lists that are not all alike: the same whatever computes the scores, and less alike."""

import numpy as np
import pytest

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from bundles.diversity import POOL, Likeness
from export.bundle import Exported
from handlers.engine.engine import Engine
from handlers.engine.query import Query
from handlers.filters.filter import Filter, Values
from tests.handlers.engine.test_engine import ranked
from tests.handlers.engine.test_filtered import COLUMNS, SCORERS


@pytest.fixture(scope="module")
def engines(personal_bundle: Exported) -> list[Engine]:
    bundle = Bundle.open(personal_bundle.folder)
    return [Engine(bundle, scorer(bundle)) for scorer in SCORERS.values()]


def alike(engine: Engine, ids: np.ndarray) -> float:
    """The mean likeness of two of a list, by genres."""
    catalogue = engine.bundle.catalogue
    units = Likeness.of(engine.bundle.facets, len(catalogue)).units(catalogue.rows(ids))
    return float((units @ units.T)[np.triu_indices(len(ids), 1)].mean())


def test_a_list_with_diversity_is_chosen_from_the_best_and_the_same_everywhere(engines):
    first, *others = engines
    for user in first.bundle.histories.user_id[:5].tolist():
        whole = ranked(first, Query(user_id=user, top_k=10 * POOL))
        at = {anime: place for place, anime in enumerate(whole.anime_ids.tolist())}
        query = Query(user_id=user, top_k=10, diversity=0.4, explain=True)
        found = ranked(first, query)
        assert len({*found.anime_ids.tolist()}) == 10
        assert found.anime_ids[0] == whole.anime_ids[0]
        rows = [at[anime] for anime in found.anime_ids.tolist()]
        for name in COLUMNS:  # each keeps its own scores
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[rows])
        assert found.reasons is not None
        assert len(found.reasons.rests) == 10
        for engine in others:
            assert ranked(engine, query).anime_ids.tolist() == found.anime_ids.tolist()


def test_the_more_diversity_the_less_alike(engines):
    engine, users = engines[0], engines[0].bundle.histories.user_id[:40].tolist()
    means = [
        np.mean(
            [
                alike(engine, ranked(engine, Query(user_id=u, top_k=10, diversity=each)).anime_ids)
                for u in users
            ]
        )
        for each in (0.0, 0.3, 1.0)
    ]
    assert means[0] > means[1] > means[2]


def test_a_filter_and_diversity_go_together(engines):
    asked = Filter(genres=Values(any=("Action",)))
    genres = engines[0].bundle.catalogue.genres
    for diversity in (0.5, 1.0):
        found = ranked(engines[0], Query(top_k=100, diversity=diversity, filter=asked))
        rows = engines[0].bundle.catalogue.rows(found.anime_ids)
        assert len(rows) == len({*rows.tolist()})
        assert all("Action" in genres[row] for row in rows)
    nobody = Query(top_k=5, diversity=0.5, filter=Filter(only_ids=np.empty(0, np.int64)))
    assert not len(ranked(engines[0], nobody).anime_ids)


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        (Query(top_k=5, diversity=1.1), "diversity", "1.1 is outside 0..1"),
        (Query(top_k=5, diversity=-0.1), "diversity", "-0.1 is outside 0..1"),
        (Query(top_k=5, diversity=float("nan")), "diversity", "nan is outside 0..1"),
        (Query(top_k=101, diversity=0.1), "top_k", "101 with diversity, should be 1 to 100"),
        (Query(diversity=0.1), "top_k", "all with diversity, should be 1 to 100"),
    ],
)
def test_what_cannot_be_diversified_is_named_by_its_field(engines, query, field, reason):
    [refused] = engines[0].rank([query])
    assert isinstance(refused, InvalidQuery)
    assert (refused.field, refused.reason) == (field, reason)
