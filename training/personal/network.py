"""The deep part of the `personal` preset: one trunk for the user and the anime, two heads.

A user is a history and a profile: a vector for each user's id, beside a history that says the
same, was worth nothing on validation.

Watch affinity is a dot product over the whole catalogue, trained so that exp(logit) is a
probability without being divided by a sum over the catalogue (self-normalised, Devlin et al.
2014, section 2.2), which a request that names its candidates could not compute. Rating is a dot
product and an MLP on both vectors and on what the wide part says.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.interactions.interactions import History
from training.loop.dropout import Rows, SharedDropout

PRODUCT = 0.3  # of the two vectors' product in the rating, at the start of training
CROSSED = 0.3  # sum of crosses at which what was liked of them counts half
ALIKE = 0.3  # sum of likenesses at which what was liked of them counts half
SIGNALS = 7  # numbers the rating head takes beside the vectors; see `PersonalNetwork.rating`


class Anime(NamedTuple):
    """The anime a batch is about: the catalogue, or what of it was trained on.

    `ids`: int64[A], rows of the id tables, 0 where hidden; `content`: sparse
    float32[A, F]; `expected`: float32[A], mean rating of each, damped; `usual`: that of the mean
    anime.
    """

    ids: Tensor
    content: Tensor
    expected: Tensor
    usual: float


class Encoded(NamedTuple):
    """Both sides: `affine`, `rater`: [B, D] the user for each head; `anime`: [A, D]; `appeal`:
    [A], log-probability of the anime for anybody."""

    affine: Tensor
    rater: Tensor
    anime: Tensor
    appeal: Tensor


class PersonalNetwork(nn.Module):
    """Both heads and the tables behind them."""

    def __init__(
        self,
        anime: int,
        features: int,
        profiles: int,
        dim: int,
        hidden: tuple[int, int],
        dropout: float,
    ) -> None:
        super().__init__()
        # Row 0 of each table of ids is "unknown".
        self.anime_id = _small(nn.Embedding(anime + 1, dim))
        self.watched_id = _small(nn.Embedding(anime + 1, dim))
        self.anime_content = nn.Linear(features, dim)
        self.watched_content = nn.Linear(features, dim)
        self.appeal_id = nn.Embedding(anime + 1, 1)
        self.appeal_content = nn.Linear(features, 1)
        self.rated_id = nn.Embedding(anime + 1, 1)
        nn.init.zeros_(self.appeal_id.weight)
        nn.init.zeros_(self.rated_id.weight)
        self.tower = nn.Sequential(
            nn.Linear(2 * dim + 3 + profiles, hidden[0]),
            nn.ReLU(),
            SharedDropout(dropout),
            nn.Linear(hidden[0], 2 * dim),
        )
        self.blend = nn.Linear(SIGNALS, 1)
        self.mlp = nn.Sequential(
            nn.Linear(3 * dim + SIGNALS, hidden[0]),
            nn.ReLU(),
            SharedDropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            SharedDropout(dropout),
            nn.Linear(hidden[1], 1),
        )
        self.dropout = dropout

    def share(self, users: Rows, pairs: Rows) -> None:
        """Say which users and pairs of a batch that ranks share are to come."""
        for layers, rows in ((self.tower, users), (self.mlp, pairs)):
            for layer in layers:
                if isinstance(layer, SharedDropout):
                    layer.rows = rows

    def forward(
        self,
        history: History,
        profiles: Tensor,
        anime: Anime,
        row: Tensor,
        column: Tensor,
        expected: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What `logits` and `rating` say, as a step of training takes both."""
        encoded = self.encode(history, profiles, anime)
        return self.logits(encoded), self.rating(history, encoded, anime, row, column, expected)

    def encode(self, history: History, profiles: Tensor, anime: Anime) -> Encoded:
        """`profiles`: float32[B, T]; the history is of `anime`."""
        of_watched, of_anime, of_appeal = self._of_content(anime.content)
        watched = self.watched_id(anime.ids) + of_watched
        size = (history.length + 1).sqrt().unsqueeze(1)
        known = torch.stack(
            [history.length.log1p() - 4, history.offset, (history.length == 0).to(size.dtype)], 1
        )
        pooled = [history.watched @ watched / size, history.liked @ watched / size]
        both = self.tower(torch.cat([*pooled, known, profiles], 1))
        affine, rater = both.chunk(2, 1)
        vectors = self.anime_id(anime.ids) + of_anime
        appeal = (self.appeal_id(anime.ids) + of_appeal).squeeze(1)
        return Encoded(affine, rater, F.dropout(vectors, self.dropout / 2, self.training), appeal)

    def _of_content(self, content: Tensor) -> tuple[Tensor, ...]:
        """What content says of each anime, by layer, [A, n]; a sparse matrix is gone through once
        for all of them."""
        layers = (self.watched_content, self.anime_content, self.appeal_content)
        weight = torch.cat([layer.weight for layer in layers])
        said = content @ weight.T + torch.cat([layer.bias for layer in layers])
        parts: tuple[Tensor, ...] = said.split([layer.out_features for layer in layers], dim=1)
        return parts

    def logits(self, encoded: Encoded) -> Tensor:
        """Log-probability of being the next to be watched, [B, A]; not above 0."""
        return (encoded.affine @ encoded.anime.T + encoded.appeal).clamp(max=0)

    def rating(
        self,
        history: History,
        encoded: Encoded,
        anime: Anime,
        row: Tensor,
        column: Tensor,
        expected: Tensor,
    ) -> Tensor:
        """Predicted rating of pairs, [n]. `row`, `column`: int64[n], places in the batch and in
        `anime`; `expected`: [n], mean rating of each, damped, in training without the one that is
        asked for."""
        crossed, liked = history.crossed[row, column], history.crossed_liked[row, column]
        alike, similar = history.alike[row, column], history.alike_liked[row, column]
        offset = history.offset[row]
        signals = torch.stack(
            [
                offset,
                expected - anime.usual,
                liked,
                liked / (crossed.abs() + CROSSED),
                crossed,
                similar / (alike + ALIKE),
                alike.log1p(),
            ],
            1,
        )
        # Indexing would add up gradients in no fixed order.
        left, right = encoded.rater.index_select(0, row), encoded.anime.index_select(0, column)
        product = left * right
        deep = self.mlp(torch.cat([left, right, product, signals], 1))
        predicted: Tensor = (
            expected
            + offset
            + PRODUCT * product.sum(1)
            + (self.rated_id(anime.ids[column]) + self.blend(signals) + deep).squeeze(1)
        )
        return predicted


def _small(embedding: nn.Embedding) -> nn.Embedding:
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding
