"""The graph that every bundle holds: what it takes, what it answers, and how that is written down.

B requests, H items of a history, P fields of a profile, N candidates; B, H and N are free, H and N
may be 0. What each name means is specified in docs/bundle-format.md.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

# By name, in the order of `INPUTS` and of `OUTPUTS`.
Inputs = dict[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]


class Port(NamedTuple):
    """The type of an input or output, as NumPy names it, and its shape."""

    type: str
    shape: tuple[str, ...]


INPUTS = {
    "user_id": Port("int64", ("B",)),
    "history_ids": Port("int64", ("B", "H")),
    "history_ratings": Port("float32", ("B", "H")),
    "profile": Port("float32", ("B", "P")),
    "candidate_ids": Port("int64", ("B", "N")),
}
OUTPUTS = {
    "rating": Port("float32", ("B", "N")),
    "affinity": Port("float32", ("B", "N")),
    "wide": Port("float32", ("B", "N")),
    "known": Port("bool", ("B", "N")),
}


def signature() -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs as the manifest lists them."""
    return {
        side: [
            {"name": name, "type": port.type, "shape": list(port.shape)}
            for name, port in ports.items()
        ]
        for side, ports in (("inputs", INPUTS), ("outputs", OUTPUTS))
    }


@contextmanager
def quiet_torchscript() -> Iterator[None]:
    """Let `torch.jit` be called without its warning that torch.export replaces it.

    torch 2.13 deprecates TorchScript as a whole; TorchServe serves nothing newer.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit.*", DeprecationWarning)
        yield
