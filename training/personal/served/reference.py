"""The unfolded `personal` model behind the served graph's inputs.

Written the long way round on purpose: it scores the whole catalogue with the training network and
sparse matrices, and shares neither tables nor look-ups with `PersonalRanker`.
"""

import copy

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from bundles.graph import Inputs
from training.interactions.expectation import USER_DAMPING
from training.interactions.interactions import History
from training.personal.features.profiles import Profiles
from training.personal.model import ALONE, POPULAR, PersonalModel
from training.personal.network import SIGNALS, Encoded
from training.tables.tables import Tables


class PersonalReference:
    """Answers of a training model to the graph's inputs, computed in `dtype`."""

    def __init__(
        self, model: PersonalModel, profiles: Profiles, tables: Tables, dtype: torch.dtype
    ) -> None:
        self._model, self._profiles, self._dtype = model, profiles, dtype
        self._stated = profiles.stated(tables.users)
        self._network = copy.deepcopy(model.network).to(dtype).eval()
        self._ties = [tie.astype(np.float64) for tie in model.ties]
        self._user_index = pd.Index(tables.users["user_id"])
        self._anime_index = pd.Index(tables.anime["anime_id"])
        self._expected = model.anime.expected.double().numpy()
        self._anime = model.anime._replace(
            content=model.anime.content.to(dtype), expected=model.anime.expected.to(dtype)
        )

    @torch.inference_mode()
    def answer(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """`rating`, `affinity`, `wide`: [B, N] in the reference's type; `known`: bool[B, N]."""
        asked = (inputs["history_ids"], inputs["history_ratings"])
        history = self._histories([self._history(*one) for one in zip(*asked, strict=True)])
        asked = (inputs["user_id"], inputs["profile"])
        profiles = torch.cat([self._profile(*one) for one in zip(*asked, strict=True)])
        # All users at once: what the network makes of the whole catalogue is made once for them.
        encoded = self._network.encode(history, profiles, self._anime)
        wide = self._model.wide(history)
        size = (history.length + 1).unsqueeze(1)
        weight = self._model.mix.deep * size + ALONE / size
        affinity = wide + weight * self._network.logits(encoded).exp()
        affinity[history.length == 0] += POPULAR * self._model.share.to(self._dtype)
        rows = []
        for at, candidates in enumerate(inputs["candidate_ids"]):
            columns = self._anime_index.get_indexer(candidates)
            known = columns >= 0
            column = torch.from_numpy(np.where(known, columns, 0).astype(np.int64))
            pair = torch.full_like(column, at)
            expected = self._anime.expected[column]
            rating = self._network.rating(history, encoded, self._anime, pair, column, expected)
            row = {
                "rating": np.where(known, rating.clamp(1, 10), self._nowhere(history, encoded, at)),
                "affinity": np.where(known, affinity[at, column], 0),
                "wide": np.where(known, wide[at, column], 0),
                "known": known,
            }
            rows.append(row)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _profile(self, user_id: int, profile: np.ndarray) -> Tensor:
        """The user's profile, [1, T]: stated now, or else stored."""
        found = self._user_index.get_indexer([user_id])[0]
        known = found >= 0 and self._model.users[found]
        stored = self._stated[found] if known else np.append(0, np.full(len(profile) - 1, np.nan))
        stated = np.where(np.isnan(profile), stored, profile)
        profiles = self._profiles.matrix(stated[None].astype(np.float32))
        return torch.from_numpy(profiles).to(self._dtype)

    def _history(
        self, ids: np.ndarray, ratings: np.ndarray
    ) -> tuple[int, float, np.ndarray, np.ndarray]:
        """Of one user: length, offset, and float64[A] each how often an anime was watched and how
        much it was liked."""
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
        return len(columns), offset, watched, weighted

    def _histories(self, each: list[tuple[int, float, np.ndarray, np.ndarray]]) -> History:
        length, offset, watched, liked = (np.array(column) for column in zip(*each, strict=True))
        both = [sp.csr_array(counted) for counted in (watched, liked)]
        tied = [(counted @ tie).toarray() for tie in self._ties for counted in both]
        columns = (length, offset, watched, liked, *tied)
        return History(*(torch.from_numpy(column).to(self._dtype) for column in columns))

    def _nowhere(self, history: History, encoded: Encoded, at: int) -> float:
        """The rating of an anime of which nothing is known: no vector, no crosses, the mean."""
        network, mean = self._network, self._model.expectation.mean
        dim = encoded.rater.shape[1]
        offset = history.offset[at]
        appeal = torch.tensor(mean, dtype=self._dtype) - self._model.anime.usual
        zero = torch.zeros((), dtype=self._dtype)
        signals = torch.stack([offset, appeal, *[zero] * (SIGNALS - 2)])
        nothing = torch.zeros(2 * dim, dtype=self._dtype)
        deep = network.mlp(torch.cat([encoded.rater[at], nothing, signals]))
        return float((mean + offset + network.blend(signals) + deep).clamp(1, 10))
