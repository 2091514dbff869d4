import importlib.util
import sys
from collections.abc import Callable

import numpy as np
import pytest

from training.comparison import baselines
from training.comparison.baselines import (
    BASELINES,
    OF_IMPLICIT,
    ON_A_SAMPLE,
    Training,
    available,
)
from training.interactions.expectation import Expectation
from training.interactions.interactions import Interactions
from training.splits import Split, split_anime, split_by_user, split_users
from training.tables.tables import Tables

SHARES = (0.7, 0.15, 0.15)
WITHOUT = importlib.util.find_spec("implicit") is None
ALL = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(name in OF_IMPLICIT and WITHOUT, reason="implicit not installed"),
    )
    for name in BASELINES
]


@pytest.fixture(scope="module")
def training(tables: Tables) -> Training:
    """Users are held out: their histories come with the request."""
    parts = split_users(tables, SHARES, 0)
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    return Training(tables, parts, expectation, parts.listed("test", len(tables.anime)), 0)


@pytest.fixture(scope="module")
def history(training: Training) -> Interactions:
    tables, known = training.tables, training.parts.known
    return Interactions.of(tables.ratings, known, training.expectation, len(tables.users))


@pytest.mark.parametrize("name", ALL)
def test_every_baseline_answers_the_same_calls_for_users_it_was_not_fitted_on(
    name: str, training: Training, history: Interactions
) -> None:
    baseline = BASELINES[name](training)
    ratings, rows = training.tables.ratings, training.parts.test
    user, anime = ratings.user_row[rows].astype(np.int64), ratings.anime_row[rows].astype(np.int64)
    predicted = baseline.ratings(history, user, anime)
    scores = baseline.scores(history, np.unique(user)[:20])
    assert predicted is not None or scores is not None
    if predicted is not None:
        assert predicted.shape == user.shape
        error = np.sqrt(np.mean((predicted - ratings.rating[rows]) ** 2))
        assert error < 1.2 * ratings.rating[rows].std()
    if scores is not None:
        assert scores.dtype == np.float32
        assert scores.shape == (20, len(training.listed))
        assert not np.isnan(scores).any()
        again = baseline.scores(history, np.unique(user)[:20])
        np.testing.assert_array_equal(again, scores)


@pytest.mark.parametrize("name", ["matrix factorisation", "item-kNN", "iALS", "EASE"])
def test_lists_follow_the_history_and_not_the_id(
    name: str, training: Training, history: Interactions
) -> None:
    if name not in available():
        pytest.skip("implicit is not installed")
    baseline = BASELINES[name](training)
    users = np.flatnonzero(np.diff(history.watched.indptr) > 20)[:2]
    swapped = Interactions(*(each[users[::-1]] for each in history))
    both = baseline.scores(history, users)
    exchanged = baseline.scores(swapped, np.arange(2))
    assert both is not None
    assert exchanged is not None
    np.testing.assert_allclose(exchanged[::-1], both, rtol=1e-3, atol=1e-4)
    assert not np.allclose(both[0], both[1])


@pytest.mark.slow
def test_the_seed_scores_a_whole_catalogue_as_it_predicts_each_pair(
    training: Training, history: Interactions
) -> None:
    baseline = BASELINES["seed, on the rating"](training)
    users = np.array([0, 5, 9])
    scores = baseline.scores(history, users)
    assert scores is not None
    listed = np.flatnonzero(np.isfinite(scores[0]))
    predicted = baseline.ratings(history, users.repeat(len(listed)), np.tile(listed, 3))
    assert predicted is not None
    np.testing.assert_allclose(scores[:, listed].ravel(), predicted, atol=1e-4)


@pytest.mark.slow
def test_anime_that_nobody_rated_are_told_apart_by_content_alone(tables: Tables) -> None:
    parts = split_anime(tables, SHARES, 0)
    listed = parts.listed("test", len(tables.anime))
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    training = Training(tables, parts, expectation, listed, 0)
    history = training.interactions
    users = np.arange(3)
    by_content = BASELINES["seed, on the rating"](training).scores(history, users)
    assert by_content is not None
    assert len(np.unique(by_content[:, listed])) > 10
    for name in ("popularity", "EASE", "matrix factorisation"):
        by_ratings = BASELINES[name](training).scores(history, users)
        assert by_ratings is not None
        among = by_ratings[:, listed]
        assert np.all(among == among[:, :1])


def test_without_the_library_its_baselines_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "implicit", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [name for name in BASELINES if name not in available()] == list(OF_IMPLICIT)


@pytest.mark.parametrize("rule", [split_by_user, split_users])
def test_where_raters_are_many_a_costly_baseline_is_fitted_on_some(
    tables: Tables, rule: Callable[..., Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "FITTED_RATERS", 60)
    parts = rule(tables, SHARES, 0)
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    whole = Training(tables, parts, expectation, parts.listed("test", len(tables.anime)), 0)
    some = whole.sample
    assert some.raters == 60
    assert set(some.parts.train.tolist()) < set(parts.train.tolist())
    assert 0 < len(some.parts.validation) <= len(parts.validation)
    assert some.sample is some
    history = Interactions.of(tables.ratings, parts.known, expectation, len(tables.users))
    others = np.setdiff1d(
        tables.ratings.user_row[parts.test], tables.ratings.user_row[some.parts.train]
    )[:20].astype(np.int64)
    for name in ON_A_SAMPLE:
        if name in available():
            scores = BASELINES[name](some).scores(history, others)
            assert scores is not None
            assert (scores.max(axis=1) > np.median(scores, axis=1)).all()
