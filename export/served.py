"""What an export needs of a run, whatever its preset."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bundles.crosses import Crosses
from export.parity import Reference
from training.comparison.table import compare
from training.personal.features.content import Content
from training.personal.features.profile import Profiles
from training.personal.model import PersonalModel
from training.personal.served.crosses import served_crosses
from training.personal.served.ranker import PersonalRanker
from training.personal.served.reference import PersonalReference
from training.run import PersonalRun, SeedRun
from training.seed.encoders import VOCABULARIES, Encoders, labels
from training.seed.evaluation import evaluate
from training.seed.ranker import SeedRanker
from training.seed.reference import Reference as SeedReference
from training.tables.tables import Tables


@dataclass(frozen=True)
class Served:
    """The graph, what it is held to, and what the manifest says of it.

    `profiles`: float32[U, P], what is stored of each user; `profile`: the fields a request may
    state; `exact`, `trained`: the training model in float64 and as trained; `beta`, `mean`: of the
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
    crosses: Crosses | None
    vocabularies: dict[str, list[Any]]
    metrics: dict[str, Any]


def served(run: SeedRun | PersonalRun, tables: Tables) -> Served:
    """Fold a run. Raises RunError and DataError."""
    return _personal(run, tables) if isinstance(run, PersonalRun) else _seed(run, tables)


def _seed(run: SeedRun, tables: Tables) -> Served:
    encoders = run.encoders()
    side = encoders.side(tables, "user")
    gender = encoders.preset.columns("wide", "user").index("gender")
    return Served(
        ranker=SeedRanker(run.model(encoders), encoders, tables),
        profile=profile_fields(encoders),
        profiles=np.column_stack([side.codes[:, gender], side.deep]).astype(np.float32),
        exact=SeedReference(run.model(encoders).double(), encoders, tables),
        trained=SeedReference(run.model(encoders), encoders, tables),
        beta=0.0,
        mean=float(labels(tables, encoders.preset, tables.ratings).mean(dtype=np.float64)),
        crosses=None,
        vocabularies=json.loads((run.folder / VOCABULARIES).read_text("utf-8")),
        metrics=json.loads(evaluate(run).to_json()),
    )


def _personal(run: PersonalRun, tables: Tables) -> Served:
    model, traits = PersonalModel.load(run, tables), Profiles.load(run.folder)
    ranker = PersonalRanker(model, traits, tables)
    measured = run.evaluation() or json.loads(compare(run).to_json())
    return Served(
        ranker=ranker,
        profile=_fields(traits.genders, list(traits.scale)),
        profiles=traits.stated(tables.users),
        exact=PersonalReference(model, traits, tables, torch.float64),
        trained=PersonalReference(model, traits, tables, torch.float32),
        beta=model.mix.beta,
        mean=model.mix.mean,
        crosses=served_crosses(model, ranker),
        vocabularies=dict(Content.load(run.folder).values),
        metrics=measured,
    )


def profile_fields(encoders: Encoders) -> list[dict[str, Any]]:
    """The features of a user that a request may state, in the order of the graph's `profile`."""
    genders = encoders.vocabularies["gender"].values
    return _fields(genders, encoders.preset.columns("deep", "user"))


def _fields(genders: tuple[str | int, ...], numbers: list[str]) -> list[dict[str, Any]]:
    gender = {"name": "gender", "kind": "category", "values": genders}
    return [gender, *({"name": name, "kind": "number"} for name in numbers)]
