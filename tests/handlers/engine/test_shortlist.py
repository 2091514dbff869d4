import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles.bundle import Bundle
from handlers.engine import graph_scorer, shortlist
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.planner import Plan
from handlers.engine.query import Familiarity, Objective, Query, Ranking
from handlers.engine.shortlist import Shortlist, best
from handlers.engine.torchscript_graph import TorchScriptGraph
from tests.handlers.engine.test_engine import assert_same, queries, ranked

QUARTERS = st.integers(-8, 8).map(lambda n: n / 4)


@pytest.fixture
def narrow(monkeypatch):
    """A query that asks for fewer than half of its candidates goes by way of a shortlist."""
    monkeypatch.setattr(shortlist, "FEW", 2)
    monkeypatch.setattr(graph_scorer, "WIDE", 1)


def plan_of(count: int, top_k: int) -> Plan:
    nothing = np.empty(0, np.int64)
    return Plan(
        0,
        Query(top_k=top_k),
        np.arange(count),
        nothing,
        nothing,
        np.empty(0, np.float32),
        nothing,
        0,
        Familiarity.NEW,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    affinities=st.lists(QUARTERS, min_size=5, max_size=60),
    beta=st.sampled_from([0, 0.25, 1, -0.5]),
    top_k=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_whoever_is_left_out_is_not_among_the_best(narrow, affinities, beta, top_k, seed):
    affinities = np.array(affinities, np.float32)
    ratings = np.random.default_rng(seed).integers(4, 41, len(affinities)).astype(np.float32) / 4
    beta = np.float32(beta)
    scores = affinities + beta * ratings
    ends = np.sort([affinities + beta * np.float32(end) for end in (1, 10)], axis=0)
    found = Shortlist(plan_of(len(scores), top_k), *ends)
    rounds = 1
    while found.widen(scores[found.plan.candidates]):
        rounds += 1
    kept = found.plan.candidates
    assert rounds <= 2
    assert kept[best(scores[kept], top_k)].tolist() == best(scores, top_k).tolist()


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batch=st.lists(queries(), max_size=6))
def test_every_answer_by_way_of_a_shortlist_is_that_of_a_plain_reckoning(
    narrow, engine, world, batch
):
    for found, query in zip(engine.rank(batch), batch, strict=True):
        assert_same(found, world.rank(query))


def test_most_candidates_of_a_recommendation_are_never_rated(toy, graph, narrow):
    rated = []

    class Spy:
        """A real graph that notes how many candidates it rates."""

        name, cells = graph.name, graph.cells
        affinity = staticmethod(graph.affinity)

        def run(self, inputs):
            rated.append(inputs["candidate_ids"].shape[1])
            return graph.run(inputs)

    query = Query(user_id=10, top_k=3, objective=Objective.AFFINITY)
    found = ranked(Engine(toy, GraphScorer(toy, Spy())), query)
    assert len(found.anime_ids) == 3
    assert len(rated) == 1
    assert rated[0] < len(toy.catalogue) / 2


@pytest.fixture(scope="module", params=[0.0, 0.05, 1.0])
def bundle(request, personal_bundle):
    """The `personal` preset's, its score weighing the rating as given."""
    opened = Bundle.open(personal_bundle.folder)
    return dataclasses.replace(
        opened, manifest=dataclasses.replace(opened.manifest, beta=request.param)
    )


@pytest.mark.parametrize("kind", [OnnxGraph, TorchScriptGraph])
def test_a_recommendation_is_to_the_bit_that_of_scoring_everything(bundle, monkeypatch, kind):
    graph = kind(bundle)
    rng = np.random.default_rng(4)
    batch = [Query(user_id=int(user), top_k=10, explain=True) for user in bundle.histories.user_id]
    for length in (0, 1, 5, 300):
        ratings = rng.choice(np.array([np.nan, 1, 5, 10], np.float32), length)
        watched = rng.choice(bundle.catalogue.anime_id, length)
        batch += [
            Query(history_ids=watched, history_ratings=ratings, top_k=10, objective=objective)
            for objective in Objective
        ]
    everything = Engine(bundle, GraphScorer(bundle, graph)).rank(batch)
    monkeypatch.setattr(shortlist, "FEW", 20)
    monkeypatch.setattr(graph_scorer, "WIDE", 1)
    rated = []
    run = graph.run

    def noted(inputs):
        rated.append(inputs["candidate_ids"].size)
        return run(inputs)

    monkeypatch.setattr(graph, "run", noted)
    for found, expected in zip(
        Engine(bundle, GraphScorer(bundle, graph)).rank(batch), everything, strict=True
    ):
        assert isinstance(expected, Ranking)
        assert_same(found, expected)
    if not bundle.manifest.beta:  # else all of so small a catalogue may be in the running
        assert sum(rated) < len(batch) * len(bundle.catalogue) / 2
