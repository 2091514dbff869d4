"""What one would try before a Wide & Deep model: each is made from training rows by its name.

All of them answer from the request's history, as the model does, so that users they were not
fitted on are served too.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp
import torch

from training.comparison.factorisation import Factorisation
from training.interactions.ease import UserSideEase, ease
from training.interactions.expectation import USER_DAMPING, Expectation
from training.interactions.interactions import Interactions
from training.seed.scorer import SeedScorer
from training.splits import Split
from training.tables.tables import Tables

EASE_RIDGE = 200.0
# By validation on real ratings, both measures of lists.
NEIGHBOURS, BM25_K1, BM25_B = 3, 1.2, 0.3  # of the three one is the anime itself
# More factors cost the square of theirs. The library's ridge is the same for all rows; it has none
# that grows with their ratings (Rendle et al. 2022, "Revisiting the performance of iALS").
IALS_FACTORS, IALS_RIDGE, IALS_CONFIDENCE, IALS_ROUNDS = 128, 40.0, 4.0, 15

# Raters whose ratings a baseline is fitted on that would take too long with more. On as many,
# matrix factorisation takes a minute of a core, iALS half of one; on all 270,033, nine times that.
FITTED_RATERS = 30_000


@dataclass(frozen=True)
class Training:
    """What a baseline is fitted on. `listed`: bool[A], which anime lists will be made of."""

    tables: Tables
    parts: Split
    expectation: Expectation
    listed: np.ndarray
    seed: int

    @cached_property
    def interactions(self) -> Interactions:
        """The training rows."""
        users = len(self.tables.users)
        return Interactions.of(self.tables.ratings, self.parts.train, self.expectation, users)

    @property
    def raters(self) -> int:
        """Users who have a training rating."""
        return len(np.unique(self.tables.ratings.user_row[self.parts.train]))

    @cached_property
    def sample(self) -> "Training":
        """The same of `FITTED_RATERS` raters at random alone; itself where there are no more."""
        user, parts = self.tables.ratings.user_row, self.parts
        raters = np.unique(user[parts.train])
        if len(raters) <= FITTED_RATERS:
            return self
        chosen = np.zeros(len(self.tables.users), dtype=np.bool_)
        chosen[np.random.default_rng(self.seed).permutation(raters)[:FITTED_RATERS]] = True
        train, validation = (rows[chosen[user[rows]]] for rows in (parts.train, parts.validation))
        if not len(validation):  # users validate who are not trained on: they are few
            validation = parts.validation
        return replace(self, parts=replace(parts, train=train, validation=validation))


class Baseline(Protocol):
    """A fitted model; rows are of the tables of users and anime."""

    def ratings(
        self, history: Interactions, user: np.ndarray, anime: np.ndarray
    ) -> np.ndarray | None:
        """Predicted ratings of pairs, float64[n]; None where it predicts none."""

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray | None:
        """What ranks the catalogue for users, float32[B, A]; None where nothing does."""


class RatingsOnly:
    """The baselines that say what to expect of a rating and make no lists."""

    def __init__(self, training: Training) -> None:
        self.expectation = training.expectation

    def scores(self, history: Interactions, users: np.ndarray) -> None:
        """None."""


class ListsOnly:
    """The baselines that make lists and say nothing of a rating."""

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> None:
        """None."""


class GlobalMean(RatingsOnly):
    """The mean of all ratings."""

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """The same for all."""
        return np.full(len(user), self.expectation.mean)


class ItemBias(RatingsOnly):
    """The anime's mean, damped."""

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """The same for every user."""
        return np.asarray(self.expectation.mean + self.expectation.anime[anime])


class UserItemBias(RatingsOnly):
    """The anime's mean, and how far the user's ratings lie above such means, damped both."""

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """As in Koren 2010, section 2.1."""
        count = np.diff(history.residual.indptr)
        offset = np.asarray(history.residual.sum(axis=1)).ravel() / (count + USER_DAMPING)
        return np.asarray(self.expectation.mean + self.expectation.anime[anime] + offset[user])


class MatrixFactorisation:
    """Biases and 32 factors, fitted to the ratings."""

    def __init__(self, training: Training) -> None:
        self.expectation = training.expectation
        self.model = Factorisation.fit(self._offsets(training.interactions), training.seed)

    def _offsets(self, history: Interactions) -> sp.csr_array:
        offsets = history.residual.copy()
        offsets.data = (offsets.data + self.expectation.anime[offsets.indices]).astype(np.float32)
        return offsets

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """The user's vector is solved for from the history."""
        users = self.model.users(self._offsets(history))
        return self.expectation.mean + self.model.predict(users, user, anime).astype(np.float64)

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """By the predicted rating."""
        return self.model.scores(self.model.users(self._offsets(history.at(users))))


class RandomOrder(ListsOnly):
    """Any order: what the lists' measures come to without a model."""

    def __init__(self, training: Training) -> None:
        self.seed = training.seed

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """Other for every user, the same for the same seed."""
        rng = np.random.default_rng([self.seed, int(users[0])])
        return rng.random((len(users), history.watched.shape[1]), dtype=np.float32)


class Popularity(ListsOnly):
    """How many rated the anime."""

    def __init__(self, training: Training) -> None:
        watched = training.interactions.watched
        counts = np.bincount(watched.indices, minlength=watched.shape[1])
        self.order = counts.astype(np.float32)

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """The same for all."""
        return np.tile(self.order, (len(users), 1))


class DampedMean(Popularity):
    """How well the anime is rated, damped: what the item bias lists."""

    def __init__(self, training: Training) -> None:
        self.order = training.expectation.anime.astype(np.float32)


class ItemKnn(ListsOnly):
    """The nearest neighbours of each watched anime, by ratings weighted as BM25 weighs words."""

    def __init__(self, training: Training) -> None:
        from implicit.nearest_neighbours import BM25Recommender

        self.expectation = training.expectation
        model = BM25Recommender(K=NEIGHBOURS, K1=BM25_K1, B=BM25_B, num_threads=0)
        with warnings.catch_warnings():
            # The library converts its own intermediate matrix, and warns of it.
            warnings.filterwarnings("ignore", "Method expects CSR input")
            model.fit(rated(training.interactions, self.expectation), show_progress=False)
        self.similarity = sp.csr_array(model.similarity)

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """Sum of the likenesses with what was watched, times its ratings."""
        watched = sp.csr_array(rated(history.at(users), self.expectation))
        return np.asarray((watched @ self.similarity).toarray(), dtype=np.float32)


class Ials(ListsOnly):
    """Implicit ALS (Hu, Koren & Volinsky 2008); a rating above the mean gives more confidence."""

    def __init__(self, training: Training) -> None:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        self.expectation = training.expectation
        with threadpool_limits(1, "blas"):  # the library has threads of its own, and warns else
            self.model = AlternatingLeastSquares(
                factors=IALS_FACTORS,
                regularization=IALS_RIDGE,
                alpha=IALS_CONFIDENCE,
                iterations=IALS_ROUNDS,
                random_state=training.seed,
            )
            self.model.fit(self._confidence(training.interactions), show_progress=False)

    def _confidence(self, history: Interactions) -> sp.csr_matrix:
        confidence = rated(history, self.expectation)
        confidence.data /= np.float32(self.expectation.mean)
        return confidence

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """The users' vectors are solved for from the histories."""
        vectors = self.model.recalculate_user(users, self._confidence(history.at(users)))
        return np.asarray(vectors @ self.model.item_factors.T, dtype=np.float32)


class Ease(ListsOnly):
    """EASE (Steck 2019), all of its weights."""

    def __init__(self, training: Training) -> None:
        watched = training.interactions.watched
        self.rows = np.flatnonzero(np.bincount(watched.indices, minlength=watched.shape[1]))
        users = watched[np.diff(watched.indptr) > 0][:, self.rows]
        self.of: Callable[[sp.csr_array], np.ndarray]
        if users.shape[0] < len(self.rows):
            self.of = UserSideEase(users, EASE_RIDGE).scores
        else:
            _, weights = ease(users, EASE_RIDGE, 0.0, torch.device("cpu"))
            self.of = lambda history: history @ weights.numpy()

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """Anime that nobody rated come last."""
        scores = np.full((len(users), history.watched.shape[1]), -np.inf, dtype=np.float32)
        scores[:, self.rows] = self.of(history.watched[users][:, self.rows])
        return scores


class Seed:
    """The `seed` preset, trained on the rating."""

    def __init__(self, training: Training) -> None:
        self.model = SeedScorer(training.tables, training.parts, training.seed)
        rated_at_all = np.bincount(
            training.tables.ratings.anime_row[training.parts.train],
            minlength=len(training.listed),
        )
        known = training.listed & (rated_at_all > 0)
        # Held-out anime have no training rating at all, and are what is to be told apart.
        self.anime = np.flatnonzero(known if known.any() else training.listed)

    def ratings(self, history: Interactions, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """It takes no history: a user is an id and the columns of the users' table."""
        return self.model.ratings(user, anime)

    def scores(self, history: Interactions, users: np.ndarray) -> np.ndarray:
        """By the predicted rating; anime that nobody rated come last."""
        scores = np.full((len(users), history.watched.shape[1]), -np.inf, dtype=np.float32)
        scores[:, self.anime] = self.model.scores(users, self.anime)
        return scores


BASELINES: dict[str, Callable[[Training], Baseline]] = {
    "global mean": GlobalMean,
    "item bias": ItemBias,
    "user + item bias": UserItemBias,
    "matrix factorisation": MatrixFactorisation,
    "random order": RandomOrder,
    "popularity": Popularity,
    "damped mean": DampedMean,
    "item-kNN": ItemKnn,
    "iALS": Ials,
    "EASE": Ease,
    "seed, on the rating": Seed,
}
OF_IMPLICIT = ("item-kNN", "iALS")
ON_A_SAMPLE = ("matrix factorisation", "item-kNN", "iALS", "seed, on the rating")


def available() -> dict[str, Callable[[Training], Baseline]]:
    """`BASELINES` without those whose library is not installed."""
    if importlib.util.find_spec("implicit") is not None:
        return BASELINES
    return {name: made for name, made in BASELINES.items() if name not in OF_IMPLICIT}


def rated(history: Interactions, expectation: Expectation) -> sp.csr_matrix:
    """Ratings, 1 to 10, as a sparse matrix of the kind that `implicit` takes, float32[U, A]."""
    ratings = sp.csr_matrix(history.residual)
    expected = expectation.mean + expectation.anime[ratings.indices]
    ratings.data = (ratings.data + expected).astype(np.float32)
    return ratings
