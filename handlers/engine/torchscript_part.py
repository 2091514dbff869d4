"""The part of the TorchScript graph that its affinity needs."""

from typing import Any

import torch
from torch import Tensor


class _Affinity(torch.nn.Module):
    """The graph with one output."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def forward(
        self,
        user_id: Tensor,
        history_ids: Tensor,
        history_ratings: Tensor,
        profile: Tensor,
        candidate_ids: Tensor,
    ) -> Tensor:
        """float32[B, N]; the inputs are those of the graph."""
        # In the order of `bundles.manifest.OUTPUTS`, which a script cannot look up.
        _, affinity, _, _ = self.whole(
            user_id, history_ids, history_ratings, profile, candidate_ids
        )
        found: Tensor = affinity
        return found


def affinity_part(whole: torch.jit.ScriptModule) -> Any:
    """A module that takes what `whole` takes and answers its affinity alone."""
    script: Any = torch.jit.script  # ships without types
    # Frozen, it has lost the operations that this output does not need. Its tables are those of
    # `whole`, and none of its numbers is changed.
    return torch.jit.freeze(script(_Affinity(whole).eval()), optimize_numerics=False)
