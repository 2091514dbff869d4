import numpy as np
import pytest

from training.interactions.interactions import Interactions
from training.personal.model import PersonalModel
from training.personal.reasons import Reasons
from training.personal.run import PersonalRun
from training.tables.tables import Tables


@pytest.fixture(scope="module")
def model(personal: PersonalRun, tables: Tables) -> PersonalModel:
    return PersonalModel.load(personal, tables)


@pytest.fixture(scope="module")
def history(personal: PersonalRun, tables: Tables, model: PersonalModel) -> Interactions:
    rows = personal.parts(tables).known
    return Interactions.of(tables.ratings, rows, model.expectation, len(tables.users))


def test_the_reasons_add_up_to_the_wide_score(model: PersonalModel, history: Interactions) -> None:
    users = np.flatnonzero(np.diff(history.watched.indptr))[:5]
    [scores] = model.scores(history, users)
    candidates = np.arange(len(model.expectation.anime))
    for user, wide in zip(users, scores.wide, strict=True):
        reasons = Reasons.of(model, history, int(user), candidates)
        added = reasons.by_watched.sum(axis=1) + reasons.by_genre.sum(axis=1)
        np.testing.assert_allclose(added, wide, atol=2e-5)


def test_a_reason_is_an_anime_of_the_history_with_the_rating_it_got(
    model: PersonalModel, history: Interactions, tables: Tables
) -> None:
    ratings = tables.ratings
    given = {
        (int(u), int(a)): int(r)
        for u, a, r in zip(ratings.user_row, ratings.anime_row, ratings.rating, strict=True)
    }
    user = int(np.argmax(np.diff(history.watched.indptr)))
    reasons = Reasons.of(model, history, user, np.arange(40))
    named = [reasons.best_watched(candidate, 3) for candidate in range(40)]
    assert any(named)
    for best in named:
        added = [each for _, _, each in best]
        assert added == sorted(added, reverse=True)
        for anime, rating, _ in best:
            assert rating == pytest.approx(given[user, anime], abs=1e-4)


def test_without_a_history_there_is_nothing_to_name(
    model: PersonalModel, history: Interactions
) -> None:
    nobody = Interactions(*(each[[0]] * 0 for each in history))
    for each in nobody:
        each.eliminate_zeros()
    reasons = Reasons.of(model, nobody, 0, np.arange(3))
    assert reasons.best_watched(0, 3) == []
    assert not reasons.by_genre.any()
