"""The served graph of the `seed` preset: raw ids in, scores out, folded from a trained model.

Everything that does not depend on the request is computed here, once: a wide embedding meets
only the last linear layer, so it collapses to one number; an anime's deep columns meet only the
first layer, so they collapse to its partial sum there. A request pays for the user's side once
and for the layers behind the first per candidate.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.folding.layers import IdMap, code, linear, look_up
from training.seed.encoders import Encoders
from training.seed.network import SeedNetwork
from training.tables.tables import Tables


class SeedRanker(nn.Module):
    """The served form of the `seed` preset. Row 0 of every table stands for "unknown"."""

    user_wide: Tensor
    gender_wide: Tensor
    user_profile: Tensor
    profile_mean: Tensor
    profile_scale: Tensor
    anime_wide: Tensor
    anime_hidden: Tensor

    def __init__(self, model: SeedNetwork, encoders: Encoders, tables: Tables) -> None:
        super().__init__()
        self.user_rows = IdMap(tables.users["user_id"].to_numpy(np.int64))
        self.anime_rows = IdMap(tables.anime["anime_id"].to_numpy(np.int64))
        folded = _Folded(model, encoders, tables)
        for name, table in folded.tables().items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table)))
        linears = [layer for layer in model.deep if isinstance(layer, nn.Linear)]
        self.first_user = linear(linears[0].weight[:, : folded.user_columns])
        self.hidden = nn.ModuleList(linear(layer.weight, layer.bias) for layer in linears[1:])
        self.last = linear(model.head.weight[:, -linears[-1].out_features :])
        self.requires_grad_(False).eval()

    def forward(
        self,
        user_id: Tensor,
        history_ids: Tensor,
        history_ratings: Tensor,
        profile: Tensor,
        candidate_ids: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score every candidate of every user: `rating`, `affinity`, `wide`, `known`, each [B, N].

        `user_id`: int64[B]; `history_ids`: int64[B, H]; `history_ratings`: float32[B, H];
        `profile`: float32[B, P], gender code first, NaN = what is stored for this user, else the
        training mean; `candidate_ids`: int64[B, N]. Ids are MyAnimeList's, any int64 is allowed.
        The seed's network does not look at the history.
        """
        user = self.user_rows(user_id)
        anime = self.anime_rows(candidate_ids)
        stored = look_up(self.user_profile, user)
        profile = torch.where(torch.isnan(profile), stored, profile)
        gender = look_up(self.gender_wide, code(profile[:, 0], self.gender_wide))
        wide = (look_up(self.user_wide, user) + gender).unsqueeze(1)
        wide = wide + look_up(self.anime_wide, anime)
        scaled = (profile[:, 1:].double() - self.profile_mean) / self.profile_scale
        hidden = look_up(self.anime_hidden, anime)
        units = F.relu(self.first_user(scaled).unsqueeze(1) + hidden)
        for layer in self.hidden:
            units = F.relu(layer(units))
        affinity = (wide + self.last(units).squeeze(2)).float()
        return affinity, affinity.clone(), wide.float(), anime > 0


class _Folded:
    """The tables of a `SeedRanker`, row 0 "unknown"."""

    def __init__(self, model: SeedNetwork, encoders: Encoders, tables: Tables) -> None:
        settings = encoders.settings
        self.encoders = encoders
        self.user = encoders.side(tables, "user")
        self.anime = encoders.side(tables, "anime")
        self.user_columns = self.user.deep.shape[1]
        self.names = settings.columns("wide", "user") + settings.columns("wide", "anime")
        self.first = next(layer for layer in model.deep if isinstance(layer, nn.Linear))
        sizes = encoders.vocabulary_sizes()
        table = model.wide.weight.detach().double().numpy()
        head = model.head.weight.detach().double().numpy()[0]
        # What the last layer sees of each embedding.
        self.seen = {
            name: part @ head[index * settings.embedding_dim : (index + 1) * settings.embedding_dim]
            for index, (name, part) in enumerate(
                zip(self.names, np.split(table, np.cumsum(sizes)[:-1]), strict=True)
            )
        }
        self.bias = float(model.head.bias.detach())

    def tables(self) -> dict[str, np.ndarray]:
        """By the name of the buffer they become."""
        mean = [self.encoders.mean[n] for n in self.encoders.settings.columns("deep", "user")]
        scale = [self.encoders.scale[n] for n in self.encoders.settings.columns("deep", "user")]
        return {
            "user_wide": self._wide("user", without="gender"),
            "gender_wide": self.seen["gender"],
            "user_profile": self._profile(mean),
            "profile_mean": np.array(mean),
            "profile_scale": np.array(scale),
            "anime_wide": self._wide("anime") + self.bias,
            "anime_hidden": self._hidden(),
        }

    def _wide(self, side: str, without: str | None = None) -> np.ndarray:
        columns = self.encoders.settings.columns("wide", "user" if side == "user" else "anime")
        codes = (self.user if side == "user" else self.anime).codes
        total = np.zeros(len(codes) + 1)
        for name, column in zip(columns, codes.T, strict=True):
            if name != without:
                total += self.seen[name][np.append(0, column)]
        return total

    def _profile(self, mean: list[float]) -> np.ndarray:
        """Row 0: gender "unknown" as the data spells it, and the training means."""
        columns = self.encoders.settings.columns("wide", "user")
        gender = self.user.codes[:, columns.index("gender")]
        unknown = self._gender_code_of_nobody()
        known = np.column_stack([gender, self.user.deep])
        return np.vstack([[unknown, *mean], known]).astype(np.float32)

    def _gender_code_of_nobody(self) -> int:
        values = self.encoders.vocabularies["gender"].values
        return values.index("unknown") + 1 if "unknown" in values else 0

    def _hidden(self) -> np.ndarray:
        """The first layer's sum over an anime's columns and its bias, [anime + 1, units]."""
        weight = self.first.weight.detach().double().numpy()[:, self.user_columns :]
        scaled = self.encoders.standardise(self.anime.deep, "anime")
        # An anime without any content is the average one: zero in every scaled column.
        sums = np.vstack([np.zeros(scaled.shape[1]), scaled]) @ weight.T
        return np.asarray(sums + self.first.bias.detach().double().numpy())
