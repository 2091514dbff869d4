"""Why the wide part ranks an anime for a user: what each watched anime and each genre adds.

The wide part is linear, so the parts of `Reasons` add up to the wide score:
Σ_h (1 + taste · liked_h) cross[h, candidate] + genres · Σ_g taste_g.
"""

from dataclasses import dataclass

import numpy as np
import torch

from training.interactions.interactions import Interactions
from training.personal.model import PersonalModel


@dataclass(frozen=True)
class Reasons:
    """Of B candidates for one user.

    `watched`: int64[H], rows of the catalogue; `rating`: float64[H], the user's; `by_watched`:
    float64[B, H], what each adds to the score; `genres`: G names; `by_genre`: float64[B, G].
    """

    watched: np.ndarray
    rating: np.ndarray
    by_watched: np.ndarray
    genres: tuple[str, ...]
    by_genre: np.ndarray

    @classmethod
    @torch.inference_mode()
    def of(
        cls, model: PersonalModel, interactions: Interactions, user: int, candidates: np.ndarray
    ) -> "Reasons":
        """For a row of `interactions` and candidates, int64[B], rows of the catalogue."""
        own = interactions.at(np.array([user]))
        history = own.history(model.ties, torch.device("cpu"))
        watched, residual = own.residual.indices, own.residual.data.astype(np.float64)
        liked = residual - float(history.offset[0])
        weight = 1 + model.mix.taste * liked
        crosses = model.ties.crosses[watched][:, candidates].toarray().T
        expectation = model.expectation
        taste = model.mix.genres * model.genres.taste(history)[0].numpy()
        return cls(
            watched=watched.astype(np.int64),
            rating=residual + expectation.mean + expectation.anime[watched],
            by_watched=crosses * weight,
            genres=model.genres.names,
            by_genre=model.genres.member[candidates] * taste,
        )

    def best_watched(self, candidate: int, most: int) -> list[tuple[int, float, float]]:
        """What adds most to the candidate at a place: (row of the catalogue, rating, added)."""
        added = self.by_watched[candidate]
        best = np.argsort(-added, kind="stable")[:most]
        return [
            (int(self.watched[h]), float(self.rating[h]), float(added[h]))
            for h in best
            if added[h] > 0
        ]

    def best_genre(self, candidate: int) -> tuple[str, float] | None:
        """The genre that adds most to the candidate at a place, if any adds: (name, added)."""
        added = self.by_genre[candidate]
        if not len(added) or added.max() <= 0:
            return None
        return self.genres[int(added.argmax())], float(added.max())
