"""Compiled code is the graph once more: one answer, whichever of the two computes."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anirank.errors import BundleError, InvalidQuery
from bundles.bundle import Bundle
from bundles.graph import Inputs
from handlers.engine.compiled.scorer import CompiledScorer
from handlers.engine.compiled.selection import (
    Need,
    best_of,
    in_the_running,
    kth_highest,
    likeliest_first,
    score_of,
    settled,
)
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.loading import engine_of
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Objective, Query, Ranking
from handlers.engine.shortlist import best

ROOT = Path(__file__).parents[3]
HOSTILE = (0, -1, -(2**63), 2**63 - 1, 2**31, 2**32 + 1)
FINITE = st.floats(-100, 100, width=32)


@pytest.fixture(scope="module", params=["personal", "seed"])
def bundle(request, personal_bundle, exported) -> Bundle:
    return Bundle.open((personal_bundle if request.param == "personal" else exported).folder)


@pytest.fixture(scope="module", params=[None, 0.05, 1.0])
def weighed(request, personal_bundle) -> Bundle:
    """The `personal` preset's, its score weighing the rating as given."""
    opened = Bundle.open(personal_bundle.folder)
    beta = opened.manifest.beta if request.param is None else request.param
    return replace(opened, manifest=replace(opened.manifest, beta=beta))


def both(bundle: Bundle) -> tuple[Engine, Engine]:
    return (
        Engine(bundle, CompiledScorer(bundle)),
        Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle))),
    )


def asked(bundle: Bundle, rng: np.random.Generator, batch: int, history: int) -> Inputs:
    """Requests for the whole catalogue, known users and strangers, with ids that nobody knows."""
    catalogue, users = bundle.catalogue.anime_id, bundle.histories.user_id
    watched = rng.choice(catalogue, (batch, history))
    watched = np.where(rng.random(watched.shape) < 0.1, rng.choice(HOSTILE, watched.shape), watched)
    candidates = np.concatenate([catalogue, catalogue[:5], HOSTILE])
    return {
        "user_id": rng.choice(np.concatenate([users, HOSTILE]), batch),
        "history_ids": watched,
        "history_ratings": rng.choice(np.array([np.nan, *range(1, 11)], np.float32), watched.shape),
        "profile": np.where(
            rng.random((batch, len(bundle.manifest.profile))) < 0.5,
            np.nan,
            rng.integers(-3, 40, (batch, len(bundle.manifest.profile))),
        ).astype(np.float32),
        "candidate_ids": np.stack([rng.permutation(candidates) for _ in range(batch)]),
    }


@pytest.mark.parametrize("history", [0, 1, 3, 100, 2_000])
def test_compiled_code_scores_as_the_graph_does(bundle, history):
    some = asked(bundle, np.random.default_rng(history), 4, history)
    found, expected = CompiledScorer(bundle).run(some), OnnxGraph(bundle).run(some)
    np.testing.assert_array_equal(found["known"], expected["known"])
    for name in ("rating", "affinity", "wide"):
        np.testing.assert_array_max_ulp(found[name], expected[name], 1)
        # A sum in float64 rounds to another float32 once in millions, one in float32 now and then.
        assert np.count_nonzero(found[name] != expected[name]) <= 1
        order = np.argsort(-expected[name], axis=1, kind="stable")
        np.testing.assert_array_equal(np.argsort(-found[name], axis=1, kind="stable"), order)


def test_compiled_code_takes_no_request_and_no_candidate_for_an_answer(bundle):
    nothing = asked(bundle, np.random.default_rng(0), 2, 5)
    nothing["candidate_ids"] = np.empty((2, 0), np.int64)
    assert CompiledScorer(bundle).run(nothing)["rating"].shape == (2, 0)
    assert Engine(bundle, CompiledScorer(bundle)).rank([]) == []


@st.composite
def queries(draw: st.DrawFn, bundle: Bundle) -> Query:
    ids = st.sampled_from([*bundle.catalogue.anime_id.tolist(), *HOSTILE])
    history = draw(st.lists(st.tuples(ids, st.sampled_from([np.nan, 1, 4.5, 10])), max_size=30))
    candidates = draw(st.none() | st.lists(ids, min_size=1, max_size=60))
    return Query(
        user_id=draw(st.none() | st.sampled_from([*bundle.histories.user_id.tolist(), *HOSTILE])),
        candidate_ids=None if candidates is None else np.array(candidates, np.int64),
        history_ids=np.array([anime for anime, _ in history], np.int64),
        history_ratings=np.array([rating for _, rating in history], np.float32),
        profile=draw(
            st.none() | st.just(np.full(len(bundle.manifest.profile), np.nan, np.float32))
        ),
        top_k=draw(st.none() | st.integers(1, 30)),
        objective=draw(st.sampled_from(Objective)),
        include_seen=draw(st.booleans()),
        include_adult=draw(st.booleans()),
        explain=draw(st.booleans()),
    )


def assert_as_good(found: Ranking | InvalidQuery, expected: Ranking | InvalidQuery) -> None:
    assert isinstance(found, Ranking)
    assert isinstance(expected, Ranking)
    assert found.anime_ids.tolist() == expected.anime_ids.tolist()
    assert found.unknown_candidates.tolist() == expected.unknown_candidates.tolist()
    assert found.familiarity == expected.familiarity
    for name in ("scores", "ratings", "affinities", "wides"):
        np.testing.assert_array_max_ulp(getattr(found, name), getattr(expected, name), 2)
    if expected.reasons is not None and found.reasons is not None:
        assert found.reasons.anime_ids.tolist() == expected.reasons.anime_ids.tolist()


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_answer_is_that_of_onnx_runtime(weighed, data):
    batch = data.draw(st.lists(queries(weighed), max_size=4))
    compiled, onnx = both(weighed)
    for found, expected in zip(compiled.rank(batch), onnx.rank(batch), strict=True):
        assert_as_good(found, expected)


def test_a_neighbour_never_changes_an_answer(bundle):
    engine = Engine(bundle, CompiledScorer(bundle))
    rng = np.random.default_rng(7)
    batch = [
        Query(
            user_id=int(rng.choice(bundle.histories.user_id)),
            candidate_ids=rng.choice(bundle.catalogue.anime_id, 40),
            top_k=int(rng.integers(1, 20)),
        )
        for _ in range(20)
    ]
    alone = [engine.rank([query])[0] for query in batch]
    for found, expected in zip(engine.rank(batch), alone, strict=True):
        assert isinstance(found, Ranking)
        assert isinstance(expected, Ranking)
        assert found.anime_ids.tolist() == expected.anime_ids.tolist()
        assert found.scores.tobytes() == expected.scores.tobytes()
        assert found.ratings.tobytes() == expected.ratings.tobytes()


def test_several_threads_answer_as_one_does(bundle):
    one, many = (Engine(bundle, CompiledScorer(bundle, threads)) for threads in (1, 3))
    batch = [Query(user_id=int(user), top_k=7) for user in bundle.histories.user_id[:30]]
    for found, expected in zip(many.rank(batch), one.rank(batch), strict=True):
        assert isinstance(found, Ranking)
        assert isinstance(expected, Ranking)
        assert found.scores.tobytes() == expected.scores.tobytes()


@settings(deadline=None)  # the first call compiles
@given(scores=st.lists(FINITE, min_size=1, max_size=50), k=st.integers(1, 50))
def test_the_best_are_those_of_the_shortlist(scores, k):
    given_scores = np.array(scores, np.float32)
    k = min(k, len(scores))
    assert best_of(given_scores, k).tolist() == best(given_scores, k).tolist()
    assert kth_highest(given_scores, k) == np.sort(given_scores)[-k]


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(FINITE, st.floats(1, 10, width=32)), min_size=1, max_size=40),
    top_k=st.integers(1, 10),
    beta=FINITE,
    objective=st.sampled_from(Objective),
)
def test_whoever_is_among_the_best_is_in_the_running(rows, top_k, beta, objective):
    affinities, ratings = np.array(rows, np.float32).T.copy()
    need = Need(min(top_k, len(rows)), int(objective), np.float32(beta), np.float32(7.5))
    scores = np.array(
        [score_of(*row, need) for row in zip(affinities, ratings, strict=True)], np.float32
    )
    running = in_the_running(affinities, need)
    assert set(best(scores, need.top_k).tolist()) <= set(running.tolist())
    assert running.tolist() == sorted(running.tolist())
    likeliest, highest = likeliest_first(running, affinities, need)
    assert np.all(scores[likeliest] <= highest)
    rated = 0  # one at a time, until nobody else can be among the best
    while rated < len(likeliest) and not settled(scores[likeliest[:rated]], highest[rated], need):
        rated += 1
    assert set(best(scores, need.top_k).tolist()) <= set(likeliest[:rated].tolist())


def test_what_may_have_to_rate_many_is_not_quick(weighed, exported):
    scorer, seed = CompiledScorer(weighed), CompiledScorer(Bundle.open(exported.folder))
    ten = Query(top_k=10)
    assert scorer.is_quick(ten, 200, 100)
    assert scorer.is_quick(ten, 1_000, 100) is (not weighed.manifest.beta)
    assert scorer.is_quick(replace(ten, objective=Objective.AFFINITY), 1_000, 100)
    for query in (Query(), replace(ten, objective=Objective.RATING)):
        assert not scorer.is_quick(query, 1_000, 0)
    assert not seed.is_quick(ten, 1_000, 0)


def test_auto_is_compiled_code_where_it_can_be(bundle, toy, monkeypatch):
    assert engine_of(bundle).name == "compiled"
    assert engine_of(bundle, "onnxruntime").name == "onnxruntime"
    assert engine_of(toy).name == "onnxruntime"  # it has no tables
    monkeypatch.setitem(sys.modules, "numba", None)  # as if it were not installed
    assert engine_of(bundle).name == "onnxruntime"


def test_compiled_code_is_refused_to_a_bundle_without_tables(toy):
    with pytest.raises(BundleError, match="has no tables for compiled code"):
        engine_of(toy, "compiled")


@pytest.mark.parametrize("name", ["user_rows", "user", "anime", "hidden"])
def test_tables_that_do_not_fit_are_refused(bundle, tmp_path, name):
    folder = shutil.copytree(bundle.folder, tmp_path / "anime" / "1")
    table = np.load(folder / "tables" / f"{name}.npy")
    spoilt = table + 2**20 if name == "user_rows" else table[:, :-1]
    np.save(folder / "tables" / f"{name}.npy", np.ascontiguousarray(spoilt))
    with pytest.raises(BundleError, match=f"tables/{name}.npy"):
        Bundle.open(folder, verify=False)


KEPT = """
import logging, sys
from pathlib import Path
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from handlers.engine.compiled.selection import kth_highest
import numpy as np
print(kth_highest(np.arange(5, dtype=np.float32), 2), sum(kth_highest.stats.cache_hits.values()))
"""


def test_compiled_code_is_kept_for_whoever_has_the_same_sources(tmp_path):
    elsewhere = tmp_path / "elsewhere"  # as TorchServe unpacks an archive anew at each start
    for package in ("anirank", "bundles", "handlers"):
        shutil.copytree(ROOT / package, elsewhere / package)
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    said = [_said(KEPT, folder, kept) for folder in (ROOT, ROOT, elsewhere)]
    assert said == ["3.0 0\n", "3.0 1\n", "3.0 1\n"]


def test_where_nothing_can_be_kept_it_is_said_once(tmp_path):
    (tmp_path / "file").touch()  # no folder can stand in it, whoever asks
    said = _said(KEPT, ROOT, {"NUMBA_CACHE_DIR": str(tmp_path / "file")})
    assert said == (
        "compiled code cannot be kept (NUMBA_CACHE_DIR names a folder for it): each start compiles "
        "it anew\n3.0 0\n"
    )


def _said(program: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    return done.stdout
