"""A run: the folder that holds all a training made.

config.json          the resolved preset, the data's fingerprint, library versions, the date, and of
                     a run made by `anirank update` what it was updated from
tables/              the typed tables it was trained on
vocabularies.json    label encoders (seed)
scalers.json         fills, means and scales (seed)
content.json         values of the anime's content (personal)
traits.json          values and scales of what users say of themselves (personal)
crosses.safetensors  the wide part and what a rating is expected to be (personal)
mix.json             how the parts add up (personal)
split.safetensors    what is held out, in a run made by `anirank update` (personal)
start.safetensors    the weights that such a run begins with (personal)
weights.safetensors  the best epoch's weights
metrics.jsonl        one line an epoch
state.safetensors    what --resume needs
evaluation.json      written by `anirank evaluate`
plots/               learning curves
"""

import importlib.metadata
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anirank.errors import RunError
from bundles.files import whole, write_json, write_text
from training.settings import Settings
from training.tables.tables import Tables

CONFIG = "config.json"
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "safetensors")

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class Run(Generic[AnySettings]):
    """A run folder of any preset, and the settings it was resolved to."""

    folder: Path
    settings: AnySettings
    fingerprint: str

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: AnySettings,
        tables: Tables,
        updated_from: Mapping[str, Any] | None = None,
    ) -> Self:
        """Begin a run. Raises RunError where the folder already holds something."""
        refuse_to_overwrite(folder)
        run = cls(folder, settings, tables.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        tables.save(run.tables_folder)
        config = {
            "preset": settings.model_dump(mode="json"),
            "fingerprint": tables.fingerprint,
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
            **({} if updated_from is None else {"updated_from": dict(updated_from)}),
        }
        write_json(folder / CONFIG, config)
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

    @property
    def curves_file(self) -> Path:
        """Loss and RMSE per epoch, as a picture."""
        return self.folder / "plots" / "learning.png"

    @property
    def evaluation_file(self) -> Path:
        """What was measured on the test rows."""
        return self.folder / "evaluation.json"

    def tables(self) -> Tables:
        """The tables the run was trained on. Raises DataError, or RunError if they are others."""
        tables = Tables.load(self.tables_folder)
        if tables.fingerprint != self.fingerprint:
            raise RunError(f"{self.tables_folder}: not the data the run was trained on")
        return tables

    def evaluation(self) -> dict[str, Any] | None:
        """What `anirank evaluate` found on the test rows; None: not yet evaluated."""
        file = self.evaluation_file
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def begun(self) -> datetime | None:
        """When the run was begun; None in a run of before this was kept."""
        begun = self._config().get("begun")
        return None if begun is None else datetime.fromisoformat(begun)

    def updated_from(self) -> dict[str, Any] | None:
        """What `anirank update` made the run from, as the bundle's manifest says it; else None."""
        return self._config().get("updated_from")

    def _config(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / CONFIG).read_text("utf-8")))

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


def refuse_to_overwrite(folder: Path) -> None:
    """Raises RunError where a folder for a new run already holds something."""
    if (folder / CONFIG).exists():
        raise RunError(f"{folder}: holds a run; continue it with --resume, or name a new folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: is not empty and holds no run to continue; name a new folder")


def read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """The settings that a run declares, as plain data, and its data's fingerprint.

    Raises RunError where there is no run.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        declared, fingerprint = dict(config["preset"]), str(config["fingerprint"])
        declared["name"] = str(declared["name"])
    except OSError:
        raise RunError(f"{folder}: no run here ({CONFIG} is missing)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / CONFIG}: cannot be read: {error}") from None
    return declared, fingerprint


def save_tensors(file: Path, tensors: dict[str, Tensor], **metadata: str) -> None:
    """Write tensors and texts to a safetensors file, whole or not at all. Raises RunError."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with whole(file) as scratch:
            save_file(on_cpu, scratch, metadata)
    except SafetensorError as error:  # as of a full disk
        raise RunError(f"{file}: cannot be written: {error}") from None


def load_tensors(file: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote. Raises RunError."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name).to(device) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
    return tensors, metadata
