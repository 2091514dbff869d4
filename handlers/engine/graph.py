"""The served graph, whichever library runs it."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anirank.errors import DeviceUnavailable
from bundles.graph import Inputs, Outputs

# Candidates in one call. On a CPU, what a call passes from layer to layer then stays within its
# caches: beside calls of 5 times 200 candidates, calls of 32 times 200 take a third longer for each
# of them. On a GPU, a hidden layer of 128 then takes 64 MiB.
CPU_CELLS, GPU_CELLS = 1_024, 65_536


class Graph(Protocol):
    """What runs the graph; it may be called from several threads at once.

    name: of the library. cells: candidates in one call, padding included, that are computed
    fastest.
    """

    name: str
    cells: int

    def run(self, inputs: Inputs) -> Outputs:
        """Score one batch.

        inputs: user_id int64[B], history_ids int64[B, H], history_ratings float32[B, H],
        profile float32[B, P], candidate_ids int64[B, N].
        Returns rating, affinity and wide float32[B, N], and known bool[B, N]. What looks at the
        history (its bundle has crosses) predicts ratings within 1 to 10.
        """

    def affinity(self, inputs: Inputs) -> NDArray[np.float32]:
        """The affinity alone, float32[B, N], without the work that only the rating needs."""


def cuda_index(device: str) -> int | None:
    """The GPU that "cuda[:i]" names, None for "cpu"; raises DeviceUnavailable for anything else."""
    kind, colon, index = device.partition(":")
    if kind == "cuda" and (index.isdecimal() or not colon):
        return int(index or 0)
    if device == "cpu":
        return None
    raise DeviceUnavailable(f"{device}: should be cpu, cuda or cuda:INDEX")


def one_line(error: Any) -> str:
    """What a library said, as part of a message."""
    return " ".join(str(error).split())[:300]
