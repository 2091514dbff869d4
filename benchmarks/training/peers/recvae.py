"""RecVAE (Shenbin et al. 2020), of RecPack: a variational autoencoder of histories."""

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp
import torch
from recpack.algorithms import RecVAE

from benchmarks.training.peers.matrix import Scores, answer


def fit(watched: sp.csr_matrix, settings: Mapping[str, Any]) -> Scores:
    """`settings`: among others max_epochs; what the last of them reached is taken.

    The library would stop by lists that still hold the history.
    """
    model = RecVAE(**settings, keep_last=True, validation_sample_size=1)
    model.fit(watched, validation_data=(watched, watched))
    network = model.model_.eval()

    @torch.no_grad()
    def scores(histories: sp.csr_matrix) -> Any:
        dense = torch.from_numpy(histories.toarray())
        return network(dense.to(model.device))[0].cpu().numpy()

    return scores


if __name__ == "__main__":
    answer(fit)
