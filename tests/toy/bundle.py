"""The toy as a bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from bundles.bundle import AFFINITY, ONNX, TORCHSCRIPT, write_bundle
from bundles.catalogue import Catalogue
from bundles.crosses import Crosses
from bundles.histories import Histories
from bundles.manifest import Manifest
from export.onnx_graph import write_onnx
from export.onnx_part import write_affinity
from export.torchscript_graph import write_torchscript
from tests.toy.graph import Toy
from tests.toy.world import ANIME, BETA, GENRES, MEAN, PROFILE, WIDE, World


def write_toy(world: World, folder: Path) -> None:
    """A bundle of the world in `folder`, a new one."""
    folder.mkdir(parents=True)
    write_torchscript(Toy(world), len(PROFILE), folder / TORCHSCRIPT)
    write_onnx(Toy(world), len(PROFILE), folder / ONNX, {})
    write_affinity(folder / ONNX, folder / AFFINITY)
    manifest = Manifest(
        name="toy",
        version=folder.name,
        preset="toy",
        label="rating",
        created="2024-01-01T00:00:00+00:00",
        data_fingerprint="00ff",
        libraries={"torch": torch.__version__},
        uses_history=True,
        profile=PROFILE,
        beta=BETA,
        mean=MEAN,
        wide=WIDE,
        parity={"onnx": 0.0},
        metrics={"test": {"rmse": 1.25}},
    )
    crosses = Crosses(
        candidate=np.tile(np.arange(ANIME, dtype=np.int32), (ANIME, 1)),
        weight=world.taste[1:] @ world.taste[1:].T,
        expected=np.full(ANIME, 6.0),
        genre=world.genre[1:],
        wide=WIDE,
    )
    write_bundle(folder, manifest, _catalogue(world), _histories(world), crosses, {})


def _catalogue(world: World) -> Catalogue:
    return Catalogue(
        anime_id=world.anime_id,
        titles=[f"Title {anime} ・ 題" for anime in world.anime_id],
        genres=[", ".join(np.array(GENRES)[of]) for of in world.genre[1:]],
        types=["TV"] * ANIME,
        adult=world.adult,
    )


def _histories(world: World) -> Histories:
    items = [item for history in world.histories for item in history]
    return Histories(
        user_id=world.user_id,
        offsets=np.cumsum([0, *map(len, world.histories)], dtype=np.int64),
        anime_id=np.array([anime for anime, _ in items], np.int32),
        rating=np.array([rating for _, rating in items], np.int8),
    )


def publish(bundle: Path, store: Path, version: str, name: str = "toy") -> Path:
    """Put a copy of a bundle into a store, as another version, at once and whole."""
    scratch, folder = store / name / f".{version}", store / name / version
    shutil.copytree(bundle, scratch)
    manifest = json.loads((scratch / "manifest.json").read_text())
    (scratch / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
    return scratch.rename(folder)
