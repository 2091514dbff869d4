"""The unfolded `personal` model behind the served graph's inputs.

Written the long way round on purpose: it scores the whole catalogue with the training network and
sparse matrices, and shares neither tables nor look-ups with `PersonalRanker`.
"""

import copy

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bundles.graph import Inputs
from training.interactions.expectation import USER_DAMPING
from training.interactions.interactions import History
from training.personal.features.profiles import Profiles
from training.personal.model import ALONE, POPULAR, PersonalModel
from training.personal.network import Encoded
from training.tables.tables import Tables


class PersonalReference:
    """Answers of a training model to the graph's inputs, computed in `dtype`."""

    def __init__(
        self, model: PersonalModel, profiles: Profiles, tables: Tables, dtype: torch.dtype
    ) -> None:
        self._model, self._profiles, self._dtype = model, profiles, dtype
        self._stated = profiles.stated(tables.users)
        self._network = copy.deepcopy(model.network).to(dtype).eval()
        self._crosses = model.crosses.astype(np.float64)
        self._user_index = pd.Index(tables.users["user_id"])
        self._anime_index = pd.Index(tables.anime["anime_id"])
        self._expected = model.anime.expected.double().numpy()
        self._anime = model.anime._replace(
            content=model.anime.content.to(dtype), expected=model.anime.expected.to(dtype)
        )

    @torch.inference_mode()
    def answer(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """`rating`, `affinity`, `wide`: [B, N] in the reference's type; `known`: bool[B, N]."""
        rows = [self._row(inputs, at) for at in range(len(inputs["user_id"]))]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _row(self, inputs: Inputs, at: int) -> dict[str, np.ndarray]:
        history = self._history(inputs["history_ids"][at], inputs["history_ratings"][at])
        user, profiles = self._user(inputs["user_id"][at], inputs["profile"][at])
        encoded = self._network.encode(history, user, profiles, self._anime)
        wide = self._model.wide(history)
        logits = self._network.logits(encoded)
        size = history.length + 1
        weight = self._model.mix.deep * size + ALONE / size
        affinity = (wide + weight.unsqueeze(1) * logits.exp())[0]
        if not history.length:
            affinity = affinity + POPULAR * self._model.share.to(self._dtype)
        columns = self._anime_index.get_indexer(inputs["candidate_ids"][at])
        known = columns >= 0
        column = torch.from_numpy(np.where(known, columns, 0).astype(np.int64))
        pair = torch.zeros_like(column)
        rating = self._network.rating(history, encoded, self._anime, pair, column).clamp(1, 10)
        nowhere = self._nowhere(history, encoded)
        return {
            "rating": np.where(known, rating.numpy(), nowhere),
            "affinity": np.where(known, affinity[column].numpy(), 0),
            "wide": np.where(known, wide[0, column].numpy(), 0),
            "known": known,
        }

    def _user(self, user_id: int, profile: np.ndarray) -> tuple[Tensor, Tensor]:
        """The user's row, int64[1], and profile, [1, T]: stated now, or else stored."""
        found = self._user_index.get_indexer([user_id])[0]
        row = self._model.users[found] if found >= 0 else 0
        stored = self._stated[found] if row else np.append(0, np.full(len(profile) - 1, np.nan))
        stated = np.where(np.isnan(profile), stored, profile)
        profiles = self._profiles.matrix(stated[None].astype(np.float32))
        return torch.tensor([row]), torch.from_numpy(profiles).to(self._dtype)

    def _history(self, ids: np.ndarray, ratings: np.ndarray) -> History:
        columns = self._anime_index.get_indexer(ids)
        there = columns >= 0
        columns, ratings = columns[there], ratings[there].astype(np.float64)
        rated = ~np.isnan(ratings)
        residual = np.where(rated, ratings - self._expected[columns], 0)
        offset = residual.sum() / (rated.sum() + USER_DAMPING)
        liked = np.where(rated, residual - offset, 0)
        watched, weighted = np.zeros((2, len(self._expected)))
        np.add.at(watched, columns, 1.0)
        np.add.at(weighted, columns, liked)

        def tensor(values: object) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=self._dtype)

        return History(
            tensor([len(columns)]),
            tensor([offset]),
            tensor(watched[None]),
            tensor(weighted[None]),
            tensor(watched[None] @ self._crosses),
            tensor(weighted[None] @ self._crosses),
        )

    def _nowhere(self, history: History, encoded: Encoded) -> float:
        """The rating of an anime of which nothing is known: no vector, no crosses, the mean."""
        network, mean = self._network, self._model.expectation.mean
        dim = encoded.rater.shape[1]
        offset = history.offset[0]
        appeal = torch.tensor(mean, dtype=self._dtype) - self._model.anime.usual
        zero = torch.zeros((), dtype=self._dtype)
        signals = torch.stack([offset, appeal, zero, zero, zero])
        nothing = torch.zeros(2 * dim, dtype=self._dtype)
        deep = network.mlp(torch.cat([encoded.rater[0], nothing, signals]))
        return float((mean + offset + network.blend(signals) + deep).clamp(1, 10))
