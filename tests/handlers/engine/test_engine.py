from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from bundles.graph import Inputs, Outputs
from handlers.engine.engine import Engine
from handlers.engine.graph import Graph
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Familiarity, Limits, Objective, Query, Ranking
from handlers.engine.shortlist import best
from handlers.engine.torchscript_graph import TorchScriptGraph

INT64 = np.iinfo(np.int64)


def some_ids(largest: int) -> st.SearchStrategy[int]:
    return st.one_of(
        st.integers(-3, largest), st.sampled_from([0, INT64.min, INT64.max, 2**31, -1])
    )


def as_array(values: Sequence[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    history = draw(
        st.lists(st.tuples(some_ids(190), st.sampled_from([1, 4.5, 5, 9, 10, np.nan])), max_size=9)
    )
    candidates = st.lists(some_ids(190), min_size=1, max_size=40)
    profile = st.tuples(st.sampled_from([0, 1, 3, np.nan]), st.sampled_from([0.5, -2, np.nan]))
    return Query(
        user_id=draw(st.none() | some_ids(410)),
        candidate_ids=draw(st.none() | candidates.map(lambda ids: as_array(ids, np.int64))),
        history_ids=as_array([anime for anime, _ in history], np.int64),
        history_ratings=as_array([rating for _, rating in history], np.float32),
        profile=draw(st.none() | profile.map(lambda codes: as_array(list(codes), np.float32))),
        top_k=draw(st.none() | st.integers(1, 70)),
        objective=draw(st.sampled_from(Objective)),
        include_seen=draw(st.booleans()),
        include_adult=draw(st.booleans()),
        explain=draw(st.booleans()),
    )


def ranked(engine: Engine, query: Query) -> Ranking:
    """The ranking of a query that is valid."""
    [answer] = engine.rank([query])
    assert isinstance(answer, Ranking)
    return answer


def assert_same(found: Ranking | InvalidQuery, expected: Ranking) -> None:
    assert isinstance(found, Ranking), found
    assert_equal_arrays(found, expected)
    assert found.familiarity is expected.familiarity
    assert found.history_size == expected.history_size
    assert (found.reasons is None) == (expected.reasons is None)
    if expected.reasons is not None:
        assert_equal_arrays(found.reasons, expected.reasons)


def assert_equal_arrays(found: object, expected: Any) -> None:
    for name in expected.__dataclass_fields__:
        if isinstance(right := getattr(expected, name), np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), right, err_msg=name)
            assert getattr(found, name).dtype == right.dtype


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(batch=st.lists(queries(), max_size=6))
def test_every_answer_of_a_batch_is_that_of_a_plain_reckoning(engine, world, batch):
    for found, query in zip(engine.rank(batch), batch, strict=True):
        assert_same(found, world.rank(query))


def test_torchscript_and_onnx_give_one_answer(engine, toy):
    scripted = Engine(toy, GraphScorer(toy, TorchScriptGraph(toy)))
    scripted.warm_up()
    batch = [Query(user_id=user, include_seen=True, explain=True) for user in (10, 20, None)]
    for found, expected in zip(scripted.rank(batch), engine.rank(batch), strict=True):
        assert_same(found, expected)


@given(
    scores=st.lists(st.sampled_from([0.0, -0.0, 1, 1.5, -2]), max_size=30),
    top_k=st.none() | st.integers(1, 40),
)
def test_equal_scores_stand_in_the_order_of_the_request_even_at_the_cut(scores, top_k):
    expected = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:top_k]
    assert best(as_array(scores, np.float32), top_k).tolist() == expected


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("candidate_ids", {"candidate_ids": np.empty(0, np.int64)}),
    ("candidate_ids", {"candidate_ids": np.arange(101)}),
    ("history", {"history_ids": np.arange(21), "history_ratings": np.ones(21, np.float32)}),
    ("history", {"history_ids": np.arange(2), "history_ratings": np.ones(1, np.float32)}),
    (
        "history[1].rating",
        {"history_ids": np.arange(2), "history_ratings": as_array([10, 10.5], np.float32)},
    ),
    (
        "history[0].rating",
        {"history_ids": np.arange(1), "history_ratings": as_array([-np.inf], np.float32)},
    ),
    ('profile.numbers["days_watched"]', {"profile": as_array([1, np.inf], np.float32)}),
    ('profile.categories["gender"]', {"profile": as_array([4, 1], np.float32)}),
    ('profile.categories["gender"]', {"profile": as_array([0.5, 1], np.float32)}),
    ("profile", {"profile": as_array([1], np.float32)}),
    # Finite, but what the graph makes of it is not.
    ("profile", {"profile": as_array([1, 3e38], np.float32)}),
    ("profile", {"profile": as_array([1, 3e38], np.float32), "objective": Objective.AFFINITY}),
    ("top_k", {"top_k": 0}),
    ("user_id", {"user_id": 2**63}),
]


@pytest.mark.parametrize(("field", "wrong"), WRONG)
def test_a_bad_query_is_answered_with_the_path_of_what_is_wrong(toy, graph, field, wrong):
    limited = Engine(toy, GraphScorer(toy, graph), Limits(candidates=100, history=20))
    [answer] = limited.rank([Query(**wrong)])
    assert isinstance(answer, InvalidQuery)
    assert answer.field == field


def test_a_bad_query_does_not_touch_its_neighbours(engine, world):
    fine = [Query(user_id=10), Query(user_id=20, candidate_ids=np.array([3, 6]))]
    bad = [Query(**wrong) for field, wrong in WRONG if field in ("top_k", "user_id", "profile")]
    answers = engine.rank([bad[0], fine[0], *bad[1:], fine[1]])
    assert_same(answers[1], world.rank(fine[0]))
    assert_same(answers[-1], world.rank(fine[1]))
    assert all(isinstance(answer, InvalidQuery) for answer in (answers[0], *answers[2:-1]))


def test_a_recommendation_leaves_out_what_was_seen_and_what_is_adult(engine, toy):
    user = 10
    stored, _ = toy.histories.of(user)
    watched = np.array([3], np.int64)
    query = Query(user_id=user, history_ids=watched, history_ratings=as_array([9], np.float32))
    [answer] = engine.rank([query])
    assert len(stored)
    assert not set(answer.anime_ids.tolist()) & {3, *stored.tolist()}
    assert not toy.catalogue.adult[toy.catalogue.rows(answer.anime_ids)].any()


def test_candidates_that_are_named_are_ranked_whatever_was_seen(engine, toy):
    stored, _ = toy.histories.of(10)
    [answer] = engine.rank([Query(user_id=10, candidate_ids=stored)])
    assert sorted(answer.anime_ids.tolist()) == sorted(stored.tolist())


def test_candidates_that_are_all_unknown_give_an_empty_ranking(engine):
    [answer] = engine.rank([Query(candidate_ids=np.array([-1, INT64.max, 0, -1]))])
    assert len(answer.anime_ids) == 0
    assert answer.unknown_candidates.tolist() == [-1, INT64.max, 0]


def test_a_user_is_known_by_the_bundle_else_by_the_history(engine):
    ids, ratings = np.array([3]), as_array([9], np.float32)
    batch = [
        Query(user_id=10, history_ids=ids, history_ratings=ratings),
        Query(user_id=11, history_ids=ids, history_ratings=ratings),
        Query(user_id=11),
    ]
    assert [answer.familiarity for answer in engine.rank(batch)] == [
        Familiarity.KNOWN,
        Familiarity.NEW_WITH_HISTORY,
        Familiarity.NEW,
    ]


def test_what_of_a_history_the_ranking_was_by_is_told(engine, toy):
    def of(*ids, user=None):
        ratings = np.full(len(ids), 9, np.float32)
        query = Query(user_id=user, history_ids=as_array(ids, np.int64), history_ratings=ratings)
        answer = ranked(engine, query)
        return answer.familiarity, answer.history_size, answer.unknown_history.tolist()

    stored, _ = toy.histories.of(20)
    assert len(stored)
    assert of(user=20) == (Familiarity.KNOWN, len(stored), [])
    assert of(3, 6, 3, user=20) == (Familiarity.KNOWN, 2, [])
    assert of(4, user=20) == (Familiarity.KNOWN, 0, [4])
    assert of(5, 3, -1, 3, 5, INT64.max) == (Familiarity.NEW_WITH_HISTORY, 1, [5, -1, INT64.max])
    assert of(5, 4, 5) == (Familiarity.NEW, 0, [5, 4])
    assert of() == (Familiarity.NEW, 0, [])


def test_a_model_that_ranks_without_the_history_says_so(toy, graph):
    bundle = replace(toy, manifest=replace(toy.manifest, uses_history=False))
    ids, ratings = as_array([3, 4], np.int64), as_array([9, 9], np.float32)
    query = Query(history_ids=ids, history_ratings=ratings)
    without = Engine(bundle, GraphScorer(bundle, graph))
    visitor, known = ranked(without, query), ranked(without, Query(user_id=20))
    assert (visitor.familiarity, visitor.history_size) == (Familiarity.NEW, 0)
    assert visitor.unknown_history.tolist() == [4]
    assert (known.familiarity, known.history_size) == (Familiarity.KNOWN, 0)


class Spy:
    """A real graph that notes the shapes it is called with."""

    name, cells = "spy", 65_536

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.affinity = graph.affinity
        self.shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def run(self, inputs: Inputs) -> Outputs:
        self.shapes.append((inputs["candidate_ids"].shape, inputs["history_ids"].shape))
        return self.graph.run(inputs)


def test_no_call_of_the_graph_outgrows_the_bound_and_small_ones_share(toy, graph):
    spy = Spy(graph)
    batch = [Query(include_seen=True, include_adult=True) for _ in range(1_500)]
    batch += [Query(candidate_ids=np.array([3, 6])) for _ in range(100)]
    watched = np.resize(toy.catalogue.anime_id, 2_000)
    ratings = np.full(2_000, 9, np.float32)
    batch += [Query(history_ids=watched, history_ratings=ratings) for _ in range(100)]
    Engine(toy, GraphScorer(toy, spy)).rank(batch)
    for candidates, history in spy.shapes:
        assert candidates[0] * candidates[1] <= Spy.cells
        assert history[0] * history[1] <= Spy.cells
    assert len(spy.shapes) < 10


def test_many_candidates_are_scored_in_slices_as_they_are_in_one_call(toy, graph):
    spy = Spy(graph)
    spy.cells = 4
    query = Query(user_id=10, include_seen=True, include_adult=True, objective=Objective.RATING)
    sliced, whole = (
        ranked(Engine(toy, GraphScorer(toy, spy)), query),
        ranked(Engine(toy, GraphScorer(toy, graph)), query),
    )
    widths = [candidates[1] for candidates, _ in spy.shapes]
    assert widths == [16, 16, 16, 12]
    assert sliced.anime_ids.tolist() == whole.anime_ids.tolist()
    assert sliced.scores.tolist() == whole.scores.tolist()


def test_the_bundles_own_model_knows_its_whole_catalogue(bundle_dir):
    bundle = Bundle.open(bundle_dir)
    graph = TorchScriptGraph(bundle)
    Engine(bundle, GraphScorer(bundle, graph)).warm_up()
    answer = ranked(
        Engine(bundle, GraphScorer(bundle, graph)), Query(include_seen=True, include_adult=True)
    )
    assert len(answer.anime_ids) == len(bundle.catalogue)
