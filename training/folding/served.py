"""What an export needs of a run, whatever its preset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn

from bundles.crosses import Crosses
from bundles.graph import Inputs, Outputs
from bundles.profile import ProfileField
from bundles.tables import ServedTables


class Reference(Protocol):
    """An unfolded training model behind the graph's inputs."""

    def answer(self, inputs: Inputs) -> Outputs:
        """`known`: bool[B, N], and those of the other outputs that are told apart, [B, N]."""


@dataclass(frozen=True)
class Served:
    """The graph, what it is held to, and what the manifest says of it.

    `profile`: the fields a request may state; `users`: int64[K], ids of those whom the graph knows;
    `profiles`: float32[U, P], those of all users of the data; `exact`, `trained`: the training
    model in float64 and as trained; `beta`, `mean`: of the ranking score; `crosses`: None where the
    graph does not look at the history; `embeds_users`: whether the graph holds something learnt of
    each user's id; `vocabularies`: values by column; `tables`: what compiled
    code computes with, None where there is no such code for this graph.
    """

    ranker: nn.Module
    profile: tuple[ProfileField, ...]
    users: np.ndarray
    profiles: np.ndarray
    exact: Reference
    trained: Reference
    beta: float
    mean: float
    crosses: Crosses | None
    embeds_users: bool
    vocabularies: dict[str, list[Any]]
    metrics: dict[str, Any]
    tables: ServedTables | None


@dataclass(frozen=True)
class Light:
    """The graph for small places, what it is held to, and what its size costs.

    `exact`, `trained`: the model of its rounded numbers, in float64 and in float32. `metrics`: by
    "whole" and "light" the figures of either by name, and on which `rows`; empty where nothing was
    held out to measure with.
    """

    ranker: nn.Module
    exact: Reference
    trained: Reference
    metrics: dict[str, Any]


def profile_fields(
    genders: Iterable[str | int], numbers: Iterable[str]
) -> tuple[ProfileField, ...]:
    """The features of a user that a request may state, in the order of the graph's `profile`."""
    gender = ProfileField("gender", "category", tuple(map(str, genders)))
    return (gender, *(ProfileField(name, "number") for name in numbers))
