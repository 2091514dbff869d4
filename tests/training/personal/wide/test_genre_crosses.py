import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from training.interactions.interactions import History, Interactions, Ties
from training.personal.wide.genre_crosses import DAMPING, RIDGE, GenreCrosses

NAMES = ["Action", "Drama", "Sci-Fi"]


@pytest.fixture
def anime() -> pd.DataFrame:
    listed = [["Action"], ["Drama", "Action"], [], ["Sci-Fi"], ["Drama", "Unheard Of"]]
    return pd.DataFrame({"genres": pd.Series(listed)})


def _history(rng: np.random.Generator, users: int) -> History:
    watched = sp.csr_array((rng.random((users, 5)) < 0.5).astype(np.float32))
    residual = watched.copy()
    residual.data = rng.normal(size=watched.nnz).astype(np.float32)
    none = sp.csr_array(np.zeros((5, 5), dtype=np.float32))
    return Interactions(watched, residual).history(Ties(none, none), torch.device("cpu"))


def test_a_candidate_gets_what_the_formula_says(anime: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    history = _history(rng, 7)
    liking, watching, usual = rng.normal(size=(3, 3))
    member = GenreCrosses.untrained(anime, NAMES, np.array([0, 1])).member
    genres = GenreCrosses(tuple(NAMES), member, liking, watching, usual)
    scores = genres.scores(history).numpy()
    watched, liked = history.watched.to_dense().numpy(), history.liked.to_dense().numpy()
    for user in range(7):
        for candidate in range(5):
            score = 0.0
            for genre in np.flatnonzero(member[candidate]):
                of = member[:, genre]
                seen, length = watched[user, of].sum(), watched[user].sum()
                score += liking[genre] * liked[user, of].sum() / (seen + DAMPING)
                score += watching[genre] * (seen - usual[genre] * length) / (length + DAMPING)
            assert scores[user, candidate] == pytest.approx(score, abs=1e-5)


def test_the_weights_are_the_ridge_regression_over_all_users_and_anime(
    anime: pd.DataFrame,
) -> None:
    rng = np.random.default_rng(1)
    untrained = GenreCrosses.untrained(anime, NAMES, np.array([0, 1, 3, 3]))
    np.testing.assert_array_equal(untrained.usual, [0.5, 0.25, 0.5])
    histories = [_history(rng, 30), _history(rng, 20)]
    left_over = [torch.from_numpy(1e3 * rng.normal(size=(n, 5))).float() for n in (30, 20)]
    fitted = untrained.fit(zip(histories, left_over, strict=True))
    rows, wanted = [], torch.cat(left_over).double().numpy().ravel()
    for weight in np.eye(6):  # what each weight alone would answer is its column
        one = GenreCrosses(tuple(NAMES), untrained.member, weight[:3], weight[3:], untrained.usual)
        rows.append(torch.cat([one.scores(each) for each in histories]).double().numpy().ravel())
    design = np.array(rows).T
    solved = np.linalg.solve(design.T @ design + RIDGE * np.eye(6), design.T @ wanted)
    np.testing.assert_allclose(np.append(fitted.liking, fitted.watching), solved, rtol=1e-4)
