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
        """`units` with a share of `rate` set to zero and the rest scaled up; as is in eval mode."""
        if not self.training or self.rate == 0:
            return units
        words = torch.empty(-(-units.numel() // 4), dtype=torch.int64, device=units.device)
        draws = words.random_(-(2**63), None).view(torch.int16)[: units.numel()]
        kept = draws.view(units.shape) >= round(self.rate * 2**16) - 2**15
        return units * kept.to(units.dtype).mul_(1 / (1 - self.rate))


class WideAndDeep(nn.Module):
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
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), Dropout(dropout)]
        self.deep = nn.Sequential(*layers)
        self.head = nn.Linear(len(vocabulary_sizes) * embedding_dim + widths[-1], 1)

    @property
    def wide_table(self) -> nn.Parameter:
        """All wide embeddings, float32[sum of sizes, E]."""
        assert isinstance(self.wide.weight, nn.Parameter)
        return self.wide.weight

    def forward(self, codes: Tensor, deep: Tensor) -> Tensor:
        """Predicted label, float32[B].

        `codes`: int64[B, W], a code per wide column; `deep`: float32[B, D], standard-scaled.
        """
        return self.join(F.embedding(codes + self.wide_offsets, self.wide.weight), deep)

    def join(self, embedded: Tensor, deep: Tensor) -> Tensor:
        """`forward` from embeddings already looked up, float32[B, W, E]."""
        # The linear layer over both parts side by side, without copying them together.
        wide = embedded.flatten(1)
        wide_weight, deep_weight = self.head.weight.split(
            [wide.shape[1], self.head.in_features - wide.shape[1]], 1
        )
        return (
            F.linear(wide, wide_weight, self.head.bias) + F.linear(self.deep(deep), deep_weight)
        ).squeeze(1)
