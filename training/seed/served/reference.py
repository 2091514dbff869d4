"""The unfolded training model behind the served graph's inputs: what parity is measured against.

Written the long way round on purpose: it shares neither tables nor look-ups with `SeedRanker`.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

from bundles.graph import Inputs
from training.seed.encoders import Encoders
from training.seed.network import SeedNetwork
from training.tables.tables import Tables


class SeedReference:
    """Predictions of a training model for raw ids."""

    def __init__(self, model: SeedNetwork, encoders: Encoders, tables: Tables) -> None:
        self._model: nn.Module = model
        self._encoders = encoders
        self._user_index = pd.Index(tables.users["user_id"])
        self._anime_index = pd.Index(tables.anime["anime_id"])
        self._user = encoders.side(tables, "user")
        self._anime = encoders.side(tables, "anime")
        self._gender = encoders.settings.columns("wide", "user").index("gender")

    def answer(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """`rating`: [B, N] in the model's own precision; `known`: bool[B, N]."""
        asked = (inputs["user_id"], inputs["profile"], inputs["candidate_ids"])
        rating = np.stack([self.rate(*one) for one in zip(*asked, strict=True)])
        known = self._anime_index.get_indexer(inputs["candidate_ids"].ravel()) >= 0
        return {"rating": rating, "known": known.reshape(rating.shape)}

    @torch.inference_mode()
    def rate(self, user_id: int, profile: np.ndarray, candidate_ids: np.ndarray) -> np.ndarray:
        """Predicted label of each candidate, in the model's own precision, float[N].

        `profile`: float32[P], gender code first, NaN where the user's stored value counts.
        """
        codes, deep = self._user_features(user_id, profile)
        anime_codes, anime_deep = self._anime_features(candidate_ids)
        n = len(candidate_ids)
        rows = np.hstack([np.tile(codes, (n, 1)), anime_codes])
        columns = np.hstack([np.tile(deep, (n, 1)), anime_deep])
        dtype = next(self._model.parameters()).dtype
        answer = self._model(torch.from_numpy(rows), torch.from_numpy(columns).to(dtype))
        return np.asarray(answer.numpy())

    def _user_features(self, user_id: int, profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = self._encoders.settings.columns("deep", "user")
        row = self._user_index.get_indexer([user_id])[0]
        if row >= 0:
            codes, deep = self._user.codes[row].copy(), self._user.deep[row].copy()
        else:
            codes = np.zeros(self._user.codes.shape[1], dtype=np.int64)
            codes[self._gender] = self._encoders.vocabularies["gender"].encode(
                pd.Series(["unknown"])
            )[0]
            deep = np.array([self._encoders.mean[name] for name in columns], dtype=np.float32)
        if not np.isnan(profile[0]):
            codes[self._gender] = int(profile[0])
        deep = np.where(np.isnan(profile[1:]), deep, profile[1:])
        return codes, self._encoders.standardise(deep[None], "user")[0]

    def _anime_features(self, candidate_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self._anime_index.get_indexer(candidate_ids)
        known = (rows >= 0)[:, None]
        scaled = self._encoders.standardise(self._anime.deep[rows], "anime")
        return np.where(known, self._anime.codes[rows], 0), np.where(known, scaled, 0.0)
