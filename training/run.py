"""A run: the folder that holds all a training made.

config.json          the resolved preset, the data's fingerprint, library versions
tables/              the typed tables it was trained on
vocabularies.json    label encoders (seed)
scalers.json         fills, means and scales (seed)
content.json         values of the anime's content (personal)
traits.json          values and scales of what users say of themselves (personal)
crosses.safetensors  the wide part and what a rating is expected to be (personal)
mix.json             how the parts add up (personal)
weights.safetensors  the best epoch's weights
metrics.jsonl        one line an epoch
state.safetensors    what --resume needs
evaluation.json      written by `anirank evaluate`
plots/               learning curves
"""

import importlib.metadata
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anirank.errors import RunError
from training.presets import PersonalPreset, SeedPreset, validated
from training.seed.encoders import Encoders
from training.seed.network import SeedNetwork
from training.tables.tables import Tables

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "safetensors")


@dataclass(frozen=True)
class Run:
    """A run folder of any preset, and what it was resolved to."""

    folder: Path
    preset: Any
    fingerprint: str

    @classmethod
    def create(cls, folder: Path, preset: SeedPreset | PersonalPreset, tables: Tables) -> Self:
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

    def evaluation(self) -> dict[str, Any] | None:
        """What `anirank evaluate` found on the test rows; None: not yet evaluated."""
        file = self.folder / "evaluation.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def save_weights(self, model: nn.Module) -> None:
        """Keep the model's present weights as the run's own."""
        save_tensors(self.weights_file, model.state_dict())

    def record(
        self,
        epoch: int,
        train: float,
        validation: float | None,
        learning_rate: float,
        seconds: float,
        samples_per_s: float,
    ) -> dict[str, Any]:
        """Write an epoch's losses (mean squared errors) to metrics.jsonl; the line written.

        `validation`: None in a run that holds nothing back.
        """
        line: dict[str, Any] = {"epoch": epoch}
        for part, loss in (("train", train), ("validation", validation)):
            if loss is not None:
                line |= {f"{part}_loss": loss, f"{part}_rmse": math.sqrt(loss)}
        line |= {"learning_rate": learning_rate, "samples_per_s": samples_per_s, "seconds": seconds}
        lines = [*self.metrics()[: epoch - 1], line]
        write_text(self.metrics_file, "".join(json.dumps(each) + "\n" for each in lines))
        return line

    def metrics(self) -> list[dict[str, Any]]:
        """The epochs so far."""
        if not self.metrics_file.exists():
            return []
        return [json.loads(line) for line in self.metrics_file.read_text("utf-8").splitlines()]


@dataclass(frozen=True)
class SeedRun(Run):
    """A run of the `seed` preset."""

    preset: SeedPreset

    @classmethod
    def open(cls, folder: Path) -> "SeedRun":
        """A run made before. Raises RunError where there is none of this preset."""
        run = open_run(folder)
        if not isinstance(run, SeedRun):
            raise RunError(f"{folder}: is a run of the preset {run.preset.name}, not of seed")
        return run

    def encoders(self) -> Encoders:
        """The fitted encoders. Raises RunError."""
        return Encoders.load(self.folder, self.preset)

    def new_model(self, encoders: Encoders) -> SeedNetwork:
        """The preset's network with fresh weights."""
        return SeedNetwork(
            encoders.vocabulary_sizes(),
            len(self.preset.deep),
            self.preset.embedding_dim,
            self.preset.hidden,
            self.preset.dropout,
        )

    def model(self, encoders: Encoders) -> SeedNetwork:
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


@dataclass(frozen=True)
class PersonalRun(Run):
    """A run of the `personal` preset."""

    preset: PersonalPreset


def open_run(folder: Path) -> SeedRun | PersonalRun:
    """A run made before, of any preset. Raises RunError where there is none."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        preset = validated(config["preset"])
        if isinstance(preset, PersonalPreset):
            return PersonalRun(folder, preset, config["fingerprint"])
        return SeedRun(folder, preset, config["fingerprint"])
    except OSError:
        raise RunError(f"{folder}: no run here (config.json is missing)") from None
    except (ValueError, KeyError) as error:
        raise RunError(f"{folder / 'config.json'}: cannot be read: {error}") from None


def open_personal_run(folder: Path) -> PersonalRun:
    """A run of the `personal` preset made before. Raises RunError where there is none."""
    run = open_run(folder)
    if not isinstance(run, PersonalRun):
        raise RunError(f"{folder}: is a run of the preset {run.preset.name}, not of personal")
    return run


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
