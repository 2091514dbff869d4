"""A run: the folder that holds all a training made.

config.json          the resolved preset, the data's fingerprint, library versions
tables/              the typed tables it was trained on
vocabularies.json    label encoders
scalers.json         fills, means and scales
weights.safetensors  the best epoch's weights
metrics.jsonl        one line an epoch
state.safetensors    what --resume needs
evaluation.json      written by `anirank evaluate`
plots/               learning curves
"""

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.encoders import Encoders
from training.errors import RunError
from training.model import WideAndDeep
from training.presets import Preset, validated
from training.tables import Tables

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "safetensors")


@dataclass(frozen=True)
class Run:
    """A run folder and what it was resolved to."""

    folder: Path
    preset: Preset
    fingerprint: str

    @classmethod
    def create(cls, folder: Path, preset: Preset, tables: Tables) -> "Run":
        """Begin a run. Raises RunError where the folder already holds something."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder}: is not empty; name a new folder, or continue with --resume")
        run = cls(folder, preset, tables.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        tables.save(run.tables_folder)
        config = {
            "preset": preset.model_dump(mode="json"),
            "fingerprint": tables.fingerprint,
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }
        write_text(folder / "config.json", json.dumps(config, indent=2))
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """A run made before. Raises RunError where there is none."""
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            return cls(folder, validated(config["preset"]), config["fingerprint"])
        except OSError:
            raise RunError(f"{folder}: no run here (config.json is missing)") from None
        except (ValueError, KeyError) as error:
            raise RunError(f"{folder / 'config.json'}: cannot be read: {error}") from None

    @property
    def tables_folder(self) -> Path:
        """Where the run keeps the tables it was trained on."""
        return self.folder / "tables"

    @property
    def weights_file(self) -> Path:
        """The best epoch's weights."""
        return self.folder / "weights.safetensors"

    @property
    def state_file(self) -> Path:
        """Where training stands."""
        return self.folder / "state.safetensors"

    @property
    def metrics_file(self) -> Path:
        """One JSON line an epoch."""
        return self.folder / "metrics.jsonl"

    def tables(self) -> Tables:
        """The tables the run was trained on. Raises DataError, or RunError if they are others."""
        tables = Tables.load(self.tables_folder)
        if tables.fingerprint != self.fingerprint:
            raise RunError(f"{self.tables_folder}: not the data the run was trained on")
        return tables

    def encoders(self) -> Encoders:
        """The fitted encoders. Raises RunError."""
        return Encoders.load(self.folder, self.preset)

    def new_model(self, encoders: Encoders) -> WideAndDeep:
        """The preset's network with fresh weights."""
        return WideAndDeep(
            encoders.vocabulary_sizes(),
            len(self.preset.deep),
            self.preset.embedding_dim,
            self.preset.hidden,
            self.preset.dropout,
        )

    def model(self, encoders: Encoders) -> WideAndDeep:
        """The trained network, in eval mode. Raises RunError where it does not fit."""
        model = self.new_model(encoders)
        try:
            model.load_state_dict(load_file(self.weights_file))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.weights_file}: cannot be read: {error}") from None
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"{self.weights_file}: does not fit the run: {first}") from None
        return model.eval()

    def save_weights(self, model: WideAndDeep) -> None:
        """Keep the model's present weights as the run's own."""
        save_tensors(self.weights_file, model.state_dict())

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far."""
        if not self.metrics_file.exists():
            return []
        return [json.loads(line) for line in self.metrics_file.read_text("utf-8").splitlines()]


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = file.with_name(f".{file.name}.part")
    scratch.write_text(text, "utf-8")
    scratch.replace(file)


def save_tensors(file: Path, tensors: dict[str, Tensor], **metadata: str) -> None:
    """Write tensors and texts to a safetensors file, whole or not at all."""
    scratch = file.with_name(f".{file.name}.part")
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(on_cpu, scratch, metadata)
    scratch.replace(file)


def load_tensors(file: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote. Raises RunError."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name).to(device) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
    return tensors, metadata
