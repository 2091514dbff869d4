"""The wide part's crosses of a user's taste in genres with the genres of the candidate.

Linear in the taste, one weight a genre for how the user rates it and one for how often the user
watches it, so that a reason can be read off. Fitted in closed form to what the crosses of anime
leave over.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from training.interactions.interactions import History
from training.loop.ranks import ALONE, Ranks

DAMPING = 5.0  # watched anime that pull a taste towards none
RIDGE = 1_000.0  # watched anime; of a genre nearly nobody watches the weight stays near zero


@dataclass(frozen=True)
class GenreCrosses:
    """`names`: G genres; `member`: bool[A, G], which anime has which; `liking`, `watching`:
    float64[G], weights of the two tastes; `usual`: float64[G], share of all that is watched.

    With H anime in a history, m_g of them of the genre g, and `liked` how far a rating lies above
    expectation, a candidate of the genre g is worth
    liking_g · Σ liked / (m_g + DAMPING) + watching_g · (m_g - usual_g · H) / (H + DAMPING).
    """

    names: tuple[str, ...]
    member: np.ndarray
    liking: np.ndarray
    watching: np.ndarray
    usual: np.ndarray

    @classmethod
    def untrained(
        cls, anime: pd.DataFrame, names: list[str], watched: np.ndarray
    ) -> "GenreCrosses":
        """Weights of zero. `watched`: int64[n], rows of the catalogue, one a training rating."""
        place = {name: at for at, name in enumerate(names)}
        member = np.zeros((len(anime), len(names)), dtype=np.bool_)
        for row, genres in enumerate(anime["genres"]):
            member[row, [place[genre] for genre in genres if genre in place]] = True
        zero = np.zeros(len(names))
        usual = member[watched].mean(axis=0) if len(watched) else zero
        return cls(tuple(names), member, zero, zero, usual)

    def fit(self, asked: Iterable[tuple[History, Tensor]], ranks: Ranks = ALONE) -> "GenreCrosses":
        """Ridge regression on (histories, what the crosses leave over, float32[B, A]) of users.

        Each rank sums over its users.

        A weight meets only its own genre, so the normal equations over all users and anime are the
        elementwise product of the two sides' Gram matrices.
        """
        genres = len(self.names)
        member = torch.from_numpy(self.member).double()
        gram, found = torch.zeros(2 * genres, 2 * genres).double(), torch.zeros(2 * genres).double()
        among = (member.T @ member).repeat(2, 2)
        for history, left_over in asked:
            tastes = torch.cat(self._tastes(history), 1)
            gram += (tastes.T @ tastes) * among
            found += (tastes * (left_over.double().cpu() @ member).repeat(1, 2)).sum(0)
        ranks.sum(gram).diagonal().add_(RIDGE)
        ranks.sum(found)
        liking, watching = torch.linalg.solve(gram, found).numpy().reshape(2, genres)
        return GenreCrosses(self.names, self.member, liking, watching, self.usual)

    def taste(self, history: History) -> Tensor:
        """What each genre adds to a candidate that has it, float64[B, G]."""
        liked, watched = self._tastes(history)
        return liked * torch.from_numpy(self.liking) + watched * torch.from_numpy(self.watching)

    def scores(self, history: History) -> Tensor:
        """What its genres add to every anime, in the history's type and on its device, [B, A]."""
        member = torch.from_numpy(self.member).double()
        return (self.taste(history) @ member.T).to(history.crossed)

    def _tastes(self, history: History) -> tuple[Tensor, Tensor]:
        member = torch.from_numpy(self.member).to(history.crossed)
        watched = (history.watched @ member).double().cpu()
        liked = (history.liked @ member).double().cpu() / (watched + DAMPING)
        length = history.length.double().cpu().unsqueeze(1)
        return liked, (watched - torch.from_numpy(self.usual) * length) / (length + DAMPING)
