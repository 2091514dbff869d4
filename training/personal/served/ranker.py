"""The served graph of the `personal` preset: histories in, affinity and rating out.

What an anime brings to each layer is computed here, once. A request pays for its history (one
look-up in the table of crosses and one tower) and, per candidate, for two dot products and the
layers behind the first of the rating head. As in `SeedRanker`, the graph computes in float64 and
answers in float32, and row 0 of every table stands for "unknown".
"""

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.folding.layers import IdMap, code, linear, look_up
from training.interactions.expectation import USER_DAMPING
from training.personal.features.profiles import FAR, Profiles
from training.personal.model import ALONE, POPULAR, PersonalModel
from training.personal.network import ALIKE, CROSSED, PRODUCT
from training.personal.wide.genre_crosses import DAMPING
from training.tables.tables import Tables

# A candidate that is in no catalogue: its probability is as good as none.
NO_APPEAL = -1_000.0


class PersonalRanker(nn.Module):
    """Folded from a trained model."""

    user_profile: Tensor
    gender_units: Tensor
    number_units: Tensor
    profile_mean: Tensor
    profile_scale: Tensor
    watched_vectors: Tensor
    anime_vectors: Tensor
    from_anime: Tensor
    from_product: Tensor
    appeal: Tensor
    popular: Tensor
    expected: Tensor
    rated: Tensor
    crossed: Tensor
    cross_weights: Tensor
    alike: Tensor
    likeness: Tensor
    genre: Tensor
    genre_liking: Tensor
    genre_watching: Tensor
    genre_usual: Tensor
    mean: Tensor
    usual: Tensor
    taste: Tensor
    genre_damping: Tensor
    deep: Tensor
    alone: Tensor
    product: Tensor
    crossed_half: Tensor
    alike_half: Tensor

    def __init__(self, model: PersonalModel, profiles: Profiles, tables: Tables) -> None:
        super().__init__()
        network, users = model.network, np.flatnonzero(model.users)
        self.user_rows = IdMap(tables.users["user_id"].to_numpy(np.int64)[users])
        self.anime_rows = IdMap(tables.anime["anime_id"].to_numpy(np.int64))
        dim = network.anime_id.embedding_dim
        folded = (
            folded_tables(model) | _genres(model) | _profiles(profiles, tables.users.iloc[users])
        )
        for name, table in folded.items():
            self.register_buffer(name, table)
        self.genres = folded["genre"].shape[1]  # a number: a trace cannot branch on a tensor's
        for name, number in _numbers(model).items():
            self.register_buffer(name, torch.tensor(number, dtype=torch.float64))
        into, out = [layer for layer in network.tower if isinstance(layer, nn.Linear)]
        known, genders = 2 * dim + 3, len(profiles.genders)
        parts = into.weight.split([known, genders, len(profiles.scale)], dim=1)
        unknown = torch.zeros(1, into.out_features)
        self.register_buffer("gender_units", torch.cat([unknown, parts[1].detach().T]).double())
        self.tower = nn.ModuleList([linear(parts[0], into.bias), linear(out.weight, out.bias)])
        self.register_buffer("number_units", parts[2].detach().T.double().contiguous())
        first, *rest = [layer for layer in network.mlp if isinstance(layer, nn.Linear)]
        parts = first.weight.split([dim, dim, dim, first.in_features - 3 * dim], dim=1)
        self.from_user = linear(parts[0], first.bias)
        self.from_signals = linear(parts[3])
        # What the first layer sees of an anime's vector: some as it is, some times the user's.
        self.register_buffer("from_anime", parts[1].detach().double().contiguous())
        self.register_buffer("from_product", parts[2].detach().double().contiguous())
        self.hidden = nn.ModuleList(linear(layer.weight, layer.bias) for layer in rest)
        self.blend = linear(network.blend.weight, network.blend.bias)
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

        Inputs as in `SeedRanker.forward`. An anime that stands twice in a history counts twice; one
        outside of the catalogue does not count.
        """
        watched = self.anime_rows(history_ids)
        anime = self.anime_rows(candidate_ids)
        present = (watched > 0).double()
        rated = present * (~torch.isnan(history_ratings)).double()
        ratings = torch.where(rated > 0, history_ratings.double(), self.mean)
        residual = torch.where(rated > 0, ratings - self._of("expected", watched), 0.0)
        offset = residual.sum(1) / (rated.sum(1) + USER_DAMPING)
        liked = rated * (residual - offset.unsqueeze(1))
        user = self.user_rows(user_id)
        stated_units = self._profile_units(
            torch.where(torch.isnan(profile), look_up(self.user_profile, user), profile)
        )
        affine, rater = self._user(stated_units, watched, present, liked, offset)
        crossed, crossed_liked = self._cross(watched, present, liked, anime)
        similar = self._similar(watched, present, liked, anime)
        wide = crossed + self.taste * crossed_liked
        if self.genres:
            wide = wide + self._by_genre(watched, present, liked, anime)
        vectors = self._of("anime_vectors", anime)
        logits = (vectors @ self._toward(affine).unsqueeze(2)).squeeze(2) + self._of(
            "appeal", anime
        )
        size = (present.sum(1) + 1).unsqueeze(1)
        scale = self.deep * size + self.alone / size
        affinity = wide + scale * logits.clamp(max=0).exp()
        affinity = affinity + (size == 1) * self._of("popular", anime)
        signals = self._signals(offset, anime, (crossed, crossed_liked), similar)
        rating = self._rating(rater, offset, anime, vectors, signals)
        return rating.clamp(1, 10).float(), affinity.float(), wide.float(), anime > 0

    def _of(self, table: str, rows: Tensor) -> Tensor:
        """Rows of a table, in float64."""
        return look_up(getattr(self, table), rows).double()

    def _rows_of(self, table: str, rows: Tensor) -> Tensor:
        """Rows of a table of rows, int64."""
        return look_up(getattr(self, table), rows).long()

    def _toward(self, users: Tensor) -> Tensor:
        """What meets an anime's vector, [..., D], as the rows of `anime_vectors` take it."""
        return users

    def _nothing(self, users: Tensor) -> Tensor:
        """Zeros, a row for each of `users`, [B, A + 1]."""
        # Made of a table: a trace would keep the device that `torch.zeros` is told as a constant,
        # and fail on any other.
        return torch.zeros_like(self.expected).expand(users.shape[0], -1)

    def _profile_units(self, profile: Tensor) -> Tensor:
        """What a profile adds to the tower's first layer, [B, units]."""
        stated = profile[:, 1:].double()
        scaled = ((stated - self.profile_mean) / self.profile_scale).clamp(-FAR, FAR)
        # The mean, which scales to zero, where nothing is stored either.
        numbers = torch.where(torch.isnan(stated), 0.0, scaled) @ self.number_units
        return look_up(self.gender_units, code(profile[:, 0], self.gender_units)) + numbers

    def _by_genre(self, watched: Tensor, present: Tensor, liked: Tensor, anime: Tensor) -> Tensor:
        """What its genres add to each candidate, [B, N]."""
        member = self._of("genre", watched)
        shares = torch.stack([present, liked], 1) @ member
        seen, length = shares[:, 0], present.sum(1, keepdim=True)
        tastes = self.genre_liking * shares[:, 1] / (seen + self.genre_damping)
        unusual = (seen - self.genre_usual * length) / (length + self.genre_damping)
        tastes = tastes + self.genre_watching * unusual
        added: Tensor = (self._of("genre", anime) @ tastes.unsqueeze(2)).squeeze(2)
        return added

    def _user(
        self,
        stated_units: Tensor,
        watched: Tensor,
        present: Tensor,
        liked: Tensor,
        offset: Tensor,
    ) -> tuple[Tensor, Tensor]:
        count = present.sum(1)
        weights = torch.stack([present, liked], 1) / (count + 1).sqrt().view(-1, 1, 1)
        pooled = (weights @ self._of("watched_vectors", watched)).flatten(1)
        known = torch.stack([count.log1p() - 4, offset, (count == 0).double()], 1)
        units = torch.cat([pooled, known], 1)
        both = self.tower[1](F.relu(self.tower[0](units) + stated_units))
        affine, rater = both.chunk(2, dim=1)
        return affine, rater

    def _cross(
        self, watched: Tensor, present: Tensor, liked: Tensor, anime: Tensor
    ) -> tuple[Tensor, Tensor]:
        to = self._rows_of("crossed", watched).flatten(1)
        weights = self._of("cross_weights", watched)
        nothing = self._nothing(to)
        sums = []
        for share in (present, liked):
            total = nothing.scatter_add(1, to, (weights * share.unsqueeze(2)).flatten(1))
            sums.append(total.gather(1, anime))
        return sums[0], sums[1]

    def _similar(
        self, watched: Tensor, present: Tensor, liked: Tensor, anime: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of the anime most like each candidate, how alike those of the history are, and that times
        how they are liked, [B, N] each."""
        among = self._rows_of("alike", anime)
        weights = self._of("likeness", anime)
        nothing = self._nothing(watched)
        sums = []
        for share in (present, liked):
            own = nothing.scatter_add(1, watched, share).gather(1, among.flatten(1))
            sums.append((own.view_as(weights) * weights).sum(2))
        return sums[0], sums[1]

    def _signals(
        self,
        offset: Tensor,
        anime: Tensor,
        crosses: tuple[Tensor, Tensor],
        similar: tuple[Tensor, Tensor],
    ) -> Tensor:
        """What the rating takes beside the vectors, [B, N, S]."""
        expected = self._of("expected", anime)
        (crossed, liked), (alike, alike_liked) = crosses, similar
        signals = [
            offset.unsqueeze(1).expand_as(expected),
            expected - self.usual,
            liked,
            liked / (crossed.abs() + self.crossed_half),
            crossed,
            alike_liked / (alike + self.alike_half),
            alike.log1p(),
        ]
        return torch.stack(signals, 2)

    def _rating(
        self, rater: Tensor, offset: Tensor, anime: Tensor, vectors: Tensor, signals: Tensor
    ) -> Tensor:
        # Weights times the user first: a candidate then pays for one product, not for three.
        by_vector = self.from_product * rater.unsqueeze(1) + self.from_anime
        units = F.relu(
            self.from_user(rater).unsqueeze(1)
            + vectors @ self._toward(by_vector).transpose(1, 2)
            + self.from_signals(signals)
        )
        units = F.relu(self.hidden[0](units))
        product = (vectors @ self._toward(rater).unsqueeze(2)).squeeze(2)
        deep = (self.blend(signals) + self.hidden[1](units)).squeeze(2)
        rating: Tensor = (
            self._of("expected", anime)
            + offset.unsqueeze(1)
            + self.product * product
            + self._of("rated", anime)
            + deep
        )
        return rating


def _numbers(model: PersonalModel) -> dict[str, float]:
    """By the name of the buffer they become: a number in the code would be float32 in ONNX."""
    return {
        "mean": model.expectation.mean,
        "usual": model.anime.usual,
        "taste": model.mix.taste,
        "deep": model.mix.deep,
        "alone": ALONE,
        "genre_damping": DAMPING,
        "product": PRODUCT,
        "crossed_half": CROSSED,
        "alike_half": ALIKE,
    }


def folded_tables(model: PersonalModel) -> dict[str, Tensor]:
    """By the name of the buffer they become, row 0 "unknown"."""
    network = model.network
    double = {name: tensor.detach().double() for name, tensor in network.state_dict().items()}
    content, ids = model.anime.content.double(), model.anime.ids
    vectors = double["anime_id.weight"][ids] + _content(content, double, "anime_content")
    watched = double["watched_id.weight"][ids] + _content(content, double, "watched_content")
    appeal = double["appeal_id.weight"][ids] + _content(content, double, "appeal_content")
    dim = vectors.shape[1]
    vectors = torch.cat([torch.zeros(1, dim, dtype=torch.float64), vectors])
    crossed, weights = _rows(model.ties.crosses)
    alike, likeness = _rows(sp.csr_array(model.ties.alike.T))
    return {
        "watched_vectors": torch.cat([torch.zeros(1, dim, dtype=torch.float64), watched]),
        "anime_vectors": vectors,
        "appeal": torch.cat([torch.tensor([NO_APPEAL]).double(), appeal.squeeze(1)]),
        "popular": torch.cat([torch.zeros(1).double(), POPULAR * model.share.double()]),
        # What the network was trained with, to the bit; the mean where nothing is known.
        "expected": torch.cat(
            [torch.tensor([model.expectation.mean]).double(), model.anime.expected.double()]
        ),
        "rated": torch.cat([torch.zeros(1).double(), double["rated_id.weight"][ids].squeeze(1)]),
        "crossed": crossed,
        "cross_weights": weights,
        "alike": alike,
        "likeness": likeness,
    }


def _genres(model: PersonalModel) -> dict[str, Tensor]:
    """The crosses of genres, their weights times the mix's; no genres where they weigh nothing."""
    genres, weight = model.genres, model.mix.genres
    kept = len(genres.names) if weight else 0
    member = np.vstack([np.zeros((1, kept)), genres.member[:, :kept]])
    return {
        "genre": torch.from_numpy(member.astype(np.uint8)),
        "genre_liking": torch.from_numpy(weight * genres.liking[:kept]),
        "genre_watching": torch.from_numpy(weight * genres.watching[:kept]),
        "genre_usual": torch.from_numpy(genres.usual[:kept]),
    }


def _profiles(profiles: Profiles, users: pd.DataFrame) -> dict[str, Tensor]:
    """What is stored of each user, and how a request's own numbers are scaled."""
    unknown = np.append(0, np.full(len(profiles.scale), np.nan))
    stored = np.vstack([unknown, profiles.stated(users)]).astype(np.float32)
    scale = torch.tensor(list(profiles.scale.values()), dtype=torch.float64).view(-1, 2)
    return {
        "user_profile": torch.from_numpy(stored),
        "profile_mean": scale[:, 0].clone(),
        "profile_scale": scale[:, 1].clone(),
    }


def _content(content: Tensor, weights: dict[str, Tensor], layer: str) -> Tensor:
    return content @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]


def _rows(matrix: sp.csr_array) -> tuple[Tensor, Tensor]:
    """int32[A + 1, K] rows and float32[A + 1, K] weights; unused places point at row 0."""
    counts = np.diff(matrix.indptr)
    shape = (matrix.shape[0] + 1, max(int(counts.max(initial=0)), 1))
    crossed, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    row = np.repeat(np.arange(1, shape[0]), counts)
    place = np.arange(len(matrix.data)) - np.repeat(matrix.indptr[:-1], counts)
    crossed[row, place] = matrix.indices + 1
    weights[row, place] = matrix.data
    return torch.from_numpy(crossed), torch.from_numpy(weights)
