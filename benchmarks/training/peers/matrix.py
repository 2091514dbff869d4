"""What a peer is handed, and what it hands back: arrays in files.

    python -m benchmarks.training.peers.PEER FOLDER '{"setting": 1.0}'

In FOLDER are `watched.npz`, who has watched what in the training rows, float32[U, A] of ones, and
`histories.npz`, the same of the users who are asked about, float32[B, A]. A peer leaves
`scores.npy`, float32[B, A].
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

WATCHED, HISTORIES, SCORES = "watched.npz", "histories.npz", "scores.npy"
USERS_AT_ONCE = 256

# Of histories, [B, A] ones, float32[B, A].
Scores = Callable[[sp.csr_matrix], Any]
# Of `watched` and of the settings.
Fit = Callable[[sp.csr_matrix, Mapping[str, Any]], Scores]


def answer(fit: Fit) -> None:
    """Do what the command line says."""
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    watched, histories = (
        sp.csr_matrix(sp.load_npz(folder / name)) for name in (WATCHED, HISTORIES)
    )
    scores, shape = fit(watched, settings), histories.shape
    found = np.lib.format.open_memmap(folder / SCORES, "w+", dtype=np.float32, shape=shape)
    for start in range(0, shape[0], USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        found[part] = scores(histories[part])
    found.flush()
