"""The Wide & Deep network of the seed."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014) from one 16-bit draw per unit.

    PyTorch's own draws a Bernoulli number per unit, which on a CPU takes as long as the rest of
    this network; four 16-bit draws come from one 64-bit number. The rate is met to 2^-16.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, units: Tensor) -> Tensor:
        """`units` with a share of `rate` set to zero and the rest scaled up; as is in eval mode.

        In training, `units` themselves are changed: what made them needs no copy for its gradient.
        """
        if not self.training or self.rate == 0:
            return units
        words = torch.empty(-(-units.numel() // 4), dtype=torch.int64, device=units.device)
        draws = words.random_(-(2**63), None).view(torch.int16)[: units.numel()]
        kept = draws.view(units.shape) >= round(self.rate * 2**16) - 2**15
        return units.mul_(kept.to(units.dtype).mul_(1 / (1 - self.rate)))


class SeedNetwork(nn.Module):
    """Wide embeddings beside a deep tower, joined by one linear layer (Cheng et al. 2016).

    `vocabulary_sizes` holds the number of codes of each wide column, row 0 of each "unknown".
    All wide embeddings stand in one table, one column's rows after another's, so that a batch
    is one look-up; `wide_offsets` says where each begins.
    """

    wide_offsets: Tensor

    def __init__(
        self,
        vocabulary_sizes: list[int],
        deep_columns: int,
        embedding_dim: int,
        hidden: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = torch.tensor(vocabulary_sizes)
        self.register_buffer("wide_offsets", sizes.cumsum(0) - sizes)
        self.wide = nn.Embedding(int(sizes.sum()), embedding_dim)
        widths = (deep_columns, *hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            # A unit is dropped before its ReLU, which is the same as after it: both can be done
            # in place then.
            layers += [nn.Linear(inputs, outputs), Dropout(dropout), nn.ReLU(inplace=True)]
        self.deep = nn.Sequential(*layers)
        self.head = nn.Linear(len(vocabulary_sizes) * embedding_dim + widths[-1], 1)
        self._deep_units = widths[-1]

    @property
    def wide_table(self) -> nn.Parameter:
        """All wide embeddings, float32[sum of sizes, E]."""
        assert isinstance(self.wide.weight, nn.Parameter)
        return self.wide.weight

    @property
    def wide_head(self) -> Tensor:
        """What the last layer makes of each wide column's embedding, float32[W, E]."""
        width = self.head.in_features - self._deep_units
        return self.head.weight[0, :width].view(len(self.wide_offsets), -1)

    def forward(self, codes: Tensor, deep: Tensor) -> Tensor:
        """Predicted label, float32[B].

        `codes`: int64[B, W], a code per wide column; `deep`: float32[B, D], standard-scaled.
        """
        embedded = F.embedding(codes + self.wide_offsets, self.wide.weight)
        return self.join((embedded * self.wide_head).sum(dim=(1, 2)), deep)

    def join(self, wide: Tensor, deep: Tensor) -> Tensor:
        """`forward` from the sum of what the last layer sees of the embeddings, float32[B]."""
        deep_weight = self.head.weight[:, -self._deep_units :]
        return wide + F.linear(self.deep(deep), deep_weight, self.head.bias).squeeze(1)
