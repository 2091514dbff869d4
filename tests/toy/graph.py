"""The toy's world as a served graph."""

import numpy as np
import torch
from torch import Tensor, nn

from tests.toy.world import DAYS_WEIGHT, GENRE_WEIGHT, World


class Toy(nn.Module):
    """The world as a served graph."""

    base: Tensor
    popularity: Tensor
    taste: Tensor
    genre: Tensor
    user_bias: Tensor
    user_days: Tensor
    gender_bias: Tensor
    user_gender: Tensor
    anime: Tensor
    users: Tensor

    def __init__(self, world: World) -> None:
        super().__init__()
        tables = ("base", "popularity", "taste", "genre", "user_bias", "user_days", "gender_bias")
        for name in tables:
            self.register_buffer(name, torch.from_numpy(np.float32(getattr(world, name))))
        self.register_buffer("user_gender", torch.from_numpy(world.user_gender))
        for name, ids in (("anime", world.anime_id), ("users", world.user_id)):
            rows = np.zeros(int(ids.max()) + 1, np.int64)
            rows[ids] = np.arange(1, len(ids) + 1)
            self.register_buffer(name, torch.from_numpy(rows))

    def forward(
        self,
        user_id: Tensor,
        history_ids: Tensor,
        history_ratings: Tensor,
        profile: Tensor,
        candidate_ids: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        user, seen = _rows(self.users, user_id), _rows(self.anime, history_ids)
        weight = torch.nan_to_num(history_ratings - 5, nan=1.0)
        weight = weight * (seen > 0)
        likes = (self.taste[seen] * weight.unsqueeze(2)).sum(1)
        given = torch.nan_to_num(profile[:, 0], 0.0).long()
        gender = torch.where(torch.isnan(profile[:, 0]), self.user_gender[user], given)
        days = torch.where(torch.isnan(profile[:, 1]), self.user_days[user], profile[:, 1])
        about = self.user_bias[user] + self.gender_bias[gender] + DAYS_WEIGHT * days
        rows = _rows(self.anime, candidate_ids)
        wide = (self.taste[rows] * likes.unsqueeze(1)).sum(2)
        genres = (self.genre[seen] * (seen > 0).unsqueeze(2)).sum(1) * GENRE_WEIGHT
        wide = wide + (self.genre[rows] * genres.unsqueeze(1)).sum(2)
        return (
            # What is not finite stays so: NaN.
            (self.base[rows] + about.unsqueeze(1)).clamp(1, 10) + (about - about).unsqueeze(1),
            self.popularity[rows] + wide,
            wide,
            rows > 0,
        )


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    inside = (ids > 0) & (ids < table.shape[0])
    return table[torch.where(inside, ids, torch.zeros_like(ids))]
