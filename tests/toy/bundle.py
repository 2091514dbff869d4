"""The toy as a bundle."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import graphs
from tests.toy.graph import Toy
from tests.toy.world import ANIME, BETA, GENRES, MEAN, PROFILE, WIDE, World


def write_bundle(world: World, folder: Path) -> None:
    """A bundle of the world in `folder`, a new one."""
    (folder / "catalogue").mkdir(parents=True)
    (folder / "histories").mkdir()
    (folder / "crosses").mkdir()
    graphs.trace(Toy(world), len(PROFILE), folder / "ranker.ts")
    graphs.to_onnx(Toy(world), len(PROFILE), folder / "ranker.onnx", {})
    (folder / "vocabularies.json").write_text("{}")
    titles = [f"Title {anime} ・ 題".encode() for anime in world.anime_id]
    genres = [", ".join(np.array(GENRES)[of]).encode() for of in world.genre[1:]]
    flat = [pair for history in world.histories for pair in history]
    for name, array in {
        "catalogue/anime_id": world.anime_id,
        "catalogue/title": np.array(titles, np.bytes_),
        "catalogue/genres": np.array(genres, np.bytes_),
        "catalogue/type": np.array([b"TV"] * ANIME, np.bytes_),
        "catalogue/adult": world.adult,
        "crosses/candidate": np.tile(np.arange(ANIME, dtype=np.int32), (ANIME, 1)),
        "crosses/weight": world.taste[1:] @ world.taste[1:].T,
        "crosses/expected": np.full(ANIME, 6.0),
        "crosses/genre": world.genre[1:],
        "histories/user_id": world.user_id,
        "histories/offsets": np.cumsum([0, *map(len, world.histories)], dtype=np.int64),
        "histories/anime_id": np.array([anime for anime, _ in flat], np.int32),
        "histories/rating": np.array([rating for _, rating in flat], np.int8),
    }.items():
        np.save(folder / f"{name}.npy", array)
    manifest: dict[str, Any] = {
        "format": 1,
        "name": "toy",
        "version": folder.name,
        "preset": "toy",
        "label": "rating",
        "created": "2024-01-01T00:00:00+00:00",
        "data_fingerprint": "00ff",
        "libraries": {"torch": torch.__version__},
        "graph": {"uses_history": True, **graphs.signature()},
        "profile": PROFILE,
        "score": {"beta": BETA, "mean": MEAN},
        "wide": WIDE,
        "parity": {"onnx": 0.0},
        "metrics": {"test": {"rmse": 1.25}},
        "files": {
            path.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def publish(bundle: Path, store: Path, version: str, name: str = "toy") -> Path:
    """Put a copy of a bundle into a store, as another version, at once and whole."""
    scratch, folder = store / name / f".{version}", store / name / version
    shutil.copytree(bundle, scratch)
    manifest = json.loads((scratch / "manifest.json").read_text())
    (scratch / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
    return scratch.rename(folder)
