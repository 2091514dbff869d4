"""What an export needs of a run, whatever its preset."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn

Inputs = dict[str, np.ndarray]  # of the graph, by name


class Reference(Protocol):
    """An unfolded training model behind the graph's inputs."""

    def answer(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """`known`: bool[B, N], and those of the other outputs that are told apart, [B, N]."""


class Crosses(Protocol):
    """The wide part beside the graph, for who wants to take a wide score apart."""

    described: dict[str, Any]


@dataclass(frozen=True)
class Served:
    """The graph, what it is held to, and what the manifest says of it.

    `profile`: the fields a request may state; `profiles`: float32[U, P], what is stored of each
    user; `exact`, `trained`: the training model in float64 and as trained; `beta`, `mean`: of the
    ranking score; `crosses`: None where the graph does not look at the history;
    `vocabularies`: values by column.
    """

    ranker: nn.Module
    profile: list[dict[str, Any]]
    profiles: np.ndarray
    exact: Reference
    trained: Reference
    beta: float
    mean: float
    crosses: Any
    vocabularies: dict[str, list[Any]]
    metrics: dict[str, Any]


def profile_fields(genders: tuple[str | int, ...], numbers: list[str]) -> list[dict[str, Any]]:
    """The features of a user that a request may state, in the order of the graph's `profile`."""
    gender = {"name": "gender", "kind": "category", "values": genders}
    return [gender, *({"name": name, "kind": "number"} for name in numbers)]
