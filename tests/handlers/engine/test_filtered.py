"""The best of what passes a filter is what ranking everything and filtering afterwards gives."""

from collections.abc import Callable

import numpy as np
import pytest

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.engine import graph_scorer, shortlist
from handlers.engine.compiled.scorer import CompiledScorer
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Limits, Objective, Query, Ranking
from handlers.engine.torchscript_graph import TorchScriptGraph
from handlers.filters.filter import Filter, Range, Values
from tests.handlers.engine.test_engine import ranked
from training.tables.tables import Tables

Scorers = dict[str, Callable[[Bundle], CompiledScorer | GraphScorer]]
SCORERS: Scorers = {
    "compiled": CompiledScorer,
    "ONNX": lambda bundle: GraphScorer(bundle, OnnxGraph(bundle)),
    "TorchScript": lambda bundle: GraphScorer(bundle, TorchScriptGraph(bundle)),
}
COLUMNS = ("anime_ids", "scores", "ratings", "affinities", "wides")
FILTERS = {
    "a genre": Filter(genres=Values(any=("Action",))),
    "two at once": Filter(genres=Values(all=("Comedy", "Fantasy"))),
    "several columns": Filter(
        genres=Values(any=("Action", "Drama"), none=("Ecchi",)),
        types=Values(any=("TV", "Movie")),
        years=Range(2000, 2020),
    ),
    "nothing": Filter(types=Values(all=("TV", "Movie"))),
    "all": Filter(),
}


@pytest.fixture(scope="module", params=["personal", "seed"])
def bundle(request: pytest.FixtureRequest, personal_bundle: Exported, exported: Exported) -> Bundle:
    return Bundle.open((personal_bundle if request.param == "personal" else exported).folder)


@pytest.fixture(params=SCORERS)
def engine(
    request: pytest.FixtureRequest, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """One that goes by way of a shortlist, where there is one, for small catalogues too."""
    monkeypatch.setattr(shortlist, "FEW", 5)
    monkeypatch.setattr(graph_scorer, "WIDE", 1)
    return Engine(bundle, SCORERS[request.param](bundle))


def passing(tables: Tables, asked: Filter) -> set[int]:
    """Ids that pass, by the data that the bundle was made of."""
    found = set()
    for anime in tables.anime.to_dict("records"):
        has = {"genres": {*anime["genres"]}, "types": {anime["type"]}}
        of = {name: getattr(asked, name) for name in has}
        fits = all(not each.any or {*each.any} & has[name] for name, each in of.items())
        fits &= all({*each.all} <= has[name] for name, each in of.items())
        fits &= not any({*each.none} & has[name] for name, each in of.items())
        if asked.years.min is not None:
            goes_on = anime["status"] == "Currently Airing"
            fits &= anime["air_start"].year <= (asked.years.max or 9999)  # of NaT neither is so
            fits &= (9999 if goes_on else anime["air_end"].year) >= asked.years.min
        if fits:
            found.add(anime["anime_id"])
    return found


def assert_same_rows(found: Ranking, expected: Ranking, rows: np.ndarray) -> None:
    for name in COLUMNS:
        right = getattr(expected, name)[rows]
        np.testing.assert_array_equal(getattr(found, name), right, err_msg=name)


@pytest.mark.parametrize("asked", FILTERS.values(), ids=FILTERS)
def test_a_filtered_list_is_that_of_everything_filtered_afterwards(engine, bundle, tables, asked):
    ids = passing(tables, asked)
    user = int(bundle.histories.user_id[3])
    for objective in Objective:
        whole = ranked(engine, Query(user_id=user, objective=objective))
        keep = np.flatnonzero(np.isin(whole.anime_ids, [*ids]))
        for top_k in (1, 10, None):
            query = Query(user_id=user, top_k=top_k, objective=objective, filter=asked)
            assert_same_rows(ranked(engine, query), whole, keep[:top_k])
    candidates = np.append(bundle.catalogue.anime_id[::-1], -5)
    whole = ranked(engine, Query(candidate_ids=candidates))
    found = ranked(engine, Query(candidate_ids=candidates, top_k=10, filter=asked))
    keep = np.flatnonzero(np.isin(whole.anime_ids, [*ids]))
    assert_same_rows(found, whole, keep[:10])
    assert found.unknown_candidates.tolist() == [-5]


def test_ids_are_left_out_or_alone_let_in(engine, bundle):
    whole = ranked(engine, Query(top_k=30))
    first, rest = whole.anime_ids[:10], whole.anime_ids[10:]
    without = Query(top_k=20, filter=Filter(without_ids=np.append(first, -1)))
    assert ranked(engine, without).anime_ids.tolist() == rest.tolist()
    only = Query(top_k=20, filter=Filter(only_ids=np.append(rest[::-1], -1)))
    assert ranked(engine, only).anime_ids.tolist() == rest.tolist()
    nobody = Query(filter=Filter(only_ids=np.empty(0, np.int64)), explain=True)
    assert not len(ranked(engine, nobody).anime_ids)


def test_a_filter_in_a_batch_does_not_touch_its_neighbours(engine):
    plain = Query(top_k=5)
    wrong = Query(filter=Filter(genres=Values(any=("Acton",))))
    before, refused, empty, after = engine.rank(
        [plain, wrong, Query(filter=FILTERS["nothing"]), plain]
    )
    assert isinstance(refused, InvalidQuery)
    assert refused.field == "filter.genres.any[0]"
    assert "'Action'" in refused.reason
    assert isinstance(empty, Ranking)
    assert not len(empty.anime_ids)
    assert before.anime_ids.tolist() == after.anime_ids.tolist()
    assert len(before.anime_ids) == 5


def test_all_that_is_wrong_in_a_filter_is_told_at_once(bundle):
    engine = Engine(bundle, CompiledScorer(bundle), Limits(filter_values=2, filter_ids=3))
    asked = Filter(
        genres=Values(any=("Action",) * 3),
        types=Values(none=("Tv",)),
        years=Range(2010, 2000),
        without_ids=np.arange(4),
        only_ids=np.arange(5),
    )
    [refused] = engine.rank([Query(filter=asked)])
    assert isinstance(refused, InvalidQuery)
    assert {fault.field: fault.reason for fault in refused.faults} == {
        "filter.genres.any": "3 given, should be 0 to 2",
        "filter.years": "min 2010 is above max 2000",
        "filter.without_ids": "4 given, should be 0 to 3",
        "filter.only_ids": "5 given, should be 0 to 3",
        "filter.types.none[0]": "'Tv' is not known; 'TV' is near it",
    }
