"""What the `personal` preset learnt: crosses, network, and how their answers add up."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from anirank.errors import RunError
from training.comparison.ranking_metrics import top
from training.interactions.interactions import (
    USERS_AT_ONCE,
    History,
    Interactions,
    sparse_tensor,
)
from training.personal.features.content import Content
from training.personal.features.profiles import Profiles
from training.personal.mix import Mix
from training.personal.network import Anime, Encoded, PersonalNetwork
from training.personal.run import PersonalRun
from training.personal.settings import PersonalSettings
from training.personal.wide.fitted import Fitted
from training.run import load_tensors
from training.tables.tables import Tables

# The rating decides among as many of the highest affinity: what lies behind them never gets there.
RATED = 300
# What the deep part weighs beside a history of length 0, where the crosses know nothing; it halves
# with the second anime. Of 0 to 100, best on validation for histories of 0 to 5.
ALONE = 20.0
# What an anime's share of all that is watched weighs where there is no history at all: enough to
# decide all but near ties, since nothing else that is learnt beats popularity there.
POPULAR = 10_000.0


class Scores(NamedTuple):
    """A batch of users: `users`: int64[B]; the rest float32[B, A]."""

    users: np.ndarray
    wide: np.ndarray
    affinity: np.ndarray
    score: np.ndarray


class PersonalModel:
    """A model in memory, ready to score."""

    def __init__(
        self, network: PersonalNetwork, fitted: Fitted, anime: Anime, profiles: Tensor, mix: Mix
    ) -> None:
        """`anime`: the whole catalogue; `profiles`: float32[U, T]."""
        self.network, self.anime, self.profiles, self.mix = network, anime, profiles, mix
        self.ties, self.genres = fitted.ties(), fitted.genres
        self.expectation, self.device = fitted.expectation, anime.ids.device
        self.share = torch.from_numpy(fitted.share.astype(np.float32)).to(self.device)
        self.users = fitted.trained_users  # bool[U], whom a served graph knows

    @classmethod
    def load(cls, run: PersonalRun, tables: Tables) -> "PersonalModel":
        """The trained model. Raises RunError where the run's files do not fit together."""
        cpu = torch.device("cpu")
        content, profiles = Content.load(run.folder), Profiles.load(run.folder)
        try:
            fitted = Fitted.load(run.crosses_file)
            mix = Mix.load(run.mix_file)
            network = new_network(run.settings, tables, content, profiles)
            network.load_state_dict(load_tensors(run.weights_file, cpu)[0])
            anime = catalogue(fitted, content.matrix(tables.anime), cpu)
            stated = torch.from_numpy(profiles.matrix(profiles.stated(tables.users))).float()
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"{run.folder}: does not fit together: {first}") from None
        return cls(network.eval(), fitted, anime, stated, mix)

    def without_users(self) -> "PersonalModel":
        """The same model, to which everybody is a new user."""
        model = copy.copy(self)
        model.users = np.zeros_like(self.users)
        return model

    def wide(self, history: History) -> Tensor:
        """The wide part of the affinity, [B, A]."""
        wide = history.crossed + self.mix.taste * history.crossed_liked
        if self.mix.genres:
            wide = wide + self.mix.genres * self.genres.scores(history)
        return wide

    def affinity(self, history: History, encoded: Encoded) -> Tensor:
        """Wide and deep, [B, A]."""
        likely = self.network.logits(encoded).exp()
        deep = self.mix.deep * (history.length + 1).unsqueeze(1) * likely
        return self.wide(history) + deep + self.alone(history, likely)

    def alone(self, history: History, likely: Tensor) -> Tensor:
        """What is added for want of a history, [B, A]; `likely`: exp(logit), [B, A]."""
        length = history.length.unsqueeze(1)
        return ALONE / (length + 1) * likely + (length == 0) * (POPULAR * self.share)

    def rated(self, history: History, encoded: Encoded, columns: Tensor) -> Tensor:
        """Predicted ratings of anime, int64[B, C], [B, C]."""
        row = torch.arange(len(columns), device=self.device).repeat_interleave(columns.shape[1])
        at = columns.to(self.device).flatten()
        return self.rate(history, encoded, row, at).view_as(columns)

    @torch.inference_mode()
    def scores(
        self, interactions: Interactions, users: np.ndarray, strangers: bool = False
    ) -> Iterator[Scores]:
        """Every anime for the users at int64[n], from these interactions, batch by batch.

        `strangers`: as if nothing but the interactions were known of the users.
        Behind the `RATED` highest affinities the score is the affinity alone.
        """
        self.network.eval()
        for start in range(0, len(users), USERS_AT_ONCE):
            batch = users[start : start + USERS_AT_ONCE]
            history, encoded = self.encode(interactions, batch, strangers)
            affinity = self.affinity(history, encoded)
            score = affinity.clone()
            if self.mix.beta:
                best = torch.from_numpy(top(affinity.cpu().numpy(), RATED)).to(self.device)
                rating = self.rated(history, encoded, best)
                score.scatter_add_(1, best, self.mix.beta * (rating - self.mix.mean))
            wide = self.wide(history)
            yield Scores(batch, *(each.cpu().numpy() for each in (wide, affinity, score)))

    @torch.inference_mode()
    def ratings(
        self,
        interactions: Interactions,
        user: np.ndarray,
        anime: np.ndarray,
        strangers: bool = False,
    ) -> np.ndarray:
        """Predicted ratings of pairs, float64[n], from the users' interactions; as `scores`."""
        self.network.eval()
        predicted = np.empty(len(user))
        everyone = np.unique(user)
        for start in range(0, len(everyone), USERS_AT_ONCE):
            batch = everyone[start : start + USERS_AT_ONCE]
            at = np.flatnonzero((user >= batch[0]) & (user <= batch[-1]))
            history, encoded = self.encode(interactions, batch, strangers)
            row = torch.from_numpy(np.searchsorted(batch, user[at])).to(self.device)
            column = torch.from_numpy(anime[at].astype(np.int64)).to(self.device)
            predicted[at] = self.rate(history, encoded, row, column).cpu().numpy()
        return predicted

    def encode(
        self, interactions: Interactions, users: np.ndarray, strangers: bool = False
    ) -> tuple[History, Encoded]:
        """The users at int64[B] as the network takes them, and both sides behind it."""
        history = interactions.at(users).history(self.ties, self.device)
        profiles = self.profiles[users].to(self.device) * (not strangers)
        return history, self.network.encode(history, profiles, self.anime)

    def rate(self, history: History, encoded: Encoded, row: Tensor, column: Tensor) -> Tensor:
        """Predicted ratings of pairs, [n]. `row`, `column`: int64[n], of the batch and the
        catalogue."""
        expected = self.anime.expected[column]
        predicted = self.network.rating(history, encoded, self.anime, row, column, expected)
        return predicted.clamp(1, 10)


def new_network(
    settings: PersonalSettings, tables: Tables, content: Content, profiles: Profiles
) -> PersonalNetwork:
    """The preset's network with fresh weights."""
    return PersonalNetwork(
        len(tables.anime),
        content.size,
        profiles.size,
        settings.embedding_dim,
        settings.hidden,
        settings.dropout,
    )


def catalogue(
    fitted: Fitted, content: np.ndarray, device: torch.device, rows: np.ndarray | None = None
) -> Anime:
    """The catalogue for the network, or its anime at `rows`, int64[M]; `content`: float32[A, F]."""
    # Row of each anime in the tables of ids: 0, "unknown", where it was never trained on.
    trained = fitted.trained_anime
    ids = np.where(trained, np.arange(1, len(trained) + 1), 0)
    expectation = fitted.expectation
    expected = (expectation.mean + expectation.anime).astype(np.float32)
    usual = float(expected.mean(dtype=np.float64))
    chosen = slice(None) if rows is None else rows
    return Anime(
        torch.from_numpy(ids[chosen]).to(device),
        sparse_tensor(sp.csr_array(content[chosen])).to(device),
        torch.from_numpy(expected[chosen]).to(device),
        usual,
    )
