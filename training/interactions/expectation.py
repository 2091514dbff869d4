"""What to expect of a rating before anything personal is known."""

from dataclasses import dataclass

import numpy as np

from training.tables.tables import Ratings

# Ratings that pull an anime's and a user's mean offset towards zero (Koren 2010, section 2.1).
ANIME_DAMPING, USER_DAMPING = 10, 5


@dataclass(frozen=True)
class Expectation:
    """`mean`: of all ratings; `anime`: float64[A], how far each anime lies above it, damped."""

    mean: float
    anime: np.ndarray

    @classmethod
    def fit(cls, ratings: Ratings, rows: np.ndarray, anime: int) -> "Expectation":
        """Fit on the ratings at `rows`, int64[n], of a catalogue of `anime` titles."""
        rating, at = ratings.rating[rows].astype(np.float64), ratings.anime_row[rows]
        mean = float(rating.mean())
        sums = np.bincount(at, rating - mean, minlength=anime)
        return cls(mean, sums / (np.bincount(at, minlength=anime) + ANIME_DAMPING))

    def residuals(self, ratings: Ratings, rows: np.ndarray) -> np.ndarray:
        """Rating less what the anime lets expect, float64[n]."""
        expected = self.mean + self.anime[ratings.anime_row[rows]]
        return np.asarray(ratings.rating[rows] - expected)

    def biased(self, ratings: Ratings, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The user + item bias model, fitted on `train`: predictions for `rows`, float64[n]."""
        users = int(ratings.user_row.max(initial=-1)) + 1
        at = ratings.user_row[train]
        sums = np.bincount(at, self.residuals(ratings, train), minlength=users)
        user = sums / (np.bincount(at, minlength=users) + USER_DAMPING)
        return np.asarray(
            self.mean + self.anime[ratings.anime_row[rows]] + user[ratings.user_row[rows]]
        )
