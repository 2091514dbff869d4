"""From a run to a bundle: model_store/NAME/VERSION/ and model_store/NAME.mar."""

import importlib.metadata
import re
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from anirank.errors import ExportError
from bundles.bundle import AFFINITY, ONNX, TORCHSCRIPT, write_bundle
from bundles.catalogue import Catalogue
from bundles.graph import OUTPUTS
from bundles.histories import Histories
from bundles.manifest import Manifest
from export.archive import pack
from export.onnx_graph import write_onnx
from export.onnx_part import agreeing, write_affinity
from export.parity import Form, Parity, as_form, check, requests
from export.torchscript_graph import write_torchscript
from training.folding.served import Served
from training.loop.progress import SILENT, Stages
from training.presets import preset_of
from training.run import Run
from training.tables.tables import Tables, adult

LIBRARIES = ("torch", "onnx", "onnxscript", "numpy")


@dataclass(frozen=True)
class Exported:
    """What an export made."""

    folder: Path
    archive: Path
    parity: Parity

    def __rich__(self) -> Group:
        table = Table(title="Parity with the training model in float64", title_justify="left")
        table.add_column("form")
        table.add_column("largest difference of a score", justify="right")
        for form, difference in self.parity.largest_difference.items():
            table.add_row(form, f"{difference:.1e}" if difference else "0, bit for bit")
        notes = (self.parity.compared(), f"{self.folder} and {self.archive}")
        return Group(table, *map(Text, notes))


def export(
    run: Run[Any],
    store: Path,
    name: str,
    version: str,
    stages: Stages = SILENT,
) -> Exported:
    """Make the bundle and the .mar, or nothing.

    Raises ExportError where the name or version is not fit for a path or is taken, ParityError
    where the forms of the model disagree, RunError and DataError from the run.
    """
    for what, text in (("name", name), ("version", version)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
            raise ExportError(f"{what} {text!r}: use letters, digits, '.', '_' and '-'")
    folder = store / name / version
    if folder.exists():
        raise ExportError(f"{folder}: exists; a version never changes, give another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{version}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "bundle"
        made.mkdir()
        parity = _write(run, made, name, version, stages)
        stages.begin("packing the .mar")
        archive = pack(made, store, name, version)
        made.rename(folder)
    return Exported(folder, archive, parity)


def _write(run: Run[Any], folder: Path, name: str, version: str, stages: Stages) -> Parity:
    stages.begin("reading the run")
    tables = run.tables()
    made = preset_of(run).served(run, tables, stages)
    manifest = _manifest(run, made, name, version)
    forms = _write_graphs(made, manifest, folder, stages)
    batches = requests(tables, made.profiles, run.settings.seed)
    parity = check(made.exact, made.trained, forms, batches, len(tables.anime), stages)
    stages.begin("writing the tables")
    write_bundle(
        folder,
        replace(manifest, parity=parity.to_dict()),
        catalogue(tables.anime),
        histories(tables),
        made.crosses,
        made.vocabularies,
    )
    return parity


def _manifest(run: Run[Any], made: Served, name: str, version: str) -> Manifest:
    """What can be said of the bundle before its graphs are compared."""
    return Manifest(
        name=name,
        version=version,
        preset=run.settings.name,
        label=run.settings.label,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=run.fingerprint,
        libraries={library: importlib.metadata.version(library) for library in LIBRARIES},
        uses_history=made.crosses is not None,
        profile=made.profile,
        beta=made.beta,
        mean=made.mean,
        wide=None if made.crosses is None else made.crosses.wide,
        parity={},
        metrics=made.metrics,
    )


def _write_graphs(
    made: Served, manifest: Manifest, folder: Path, stages: Stages
) -> dict[str, Form]:
    """Every form of the graph, by its name in the report of parity."""
    columns = len(manifest.profile)
    stages.begin("writing TorchScript")
    scripted = write_torchscript(made.ranker, columns, folder / TORCHSCRIPT)
    stages.begin("writing ONNX")
    onnx = write_onnx(made.ranker, columns, folder / ONNX, manifest.described())
    if manifest.uses_history:  # else the affinity is the rating, and has no part of its own
        onnx = agreeing(onnx, write_affinity(folder / ONNX, folder / AFFINITY))
    folded = as_form(made.ranker, tuple(OUTPUTS))
    return {"folded": folded, "TorchScript": scripted, "ONNX": onnx}


def catalogue(anime: pd.DataFrame) -> Catalogue:
    """The anime of a run's tables; what has no text has an empty one."""
    return Catalogue(
        anime_id=anime["anime_id"].to_numpy(np.int64),
        titles=[text or "" for text in anime["name"]],
        genres=[", ".join(genres) for genres in anime["genres"]],
        types=[text or "" for text in anime["type"]],
        adult=adult(anime),
    )


def histories(tables: Tables) -> Histories:
    """What each user has rated, in the order of the file; nobody who has rated nothing."""
    ratings = tables.ratings
    order = np.argsort(ratings.user_row, kind="stable")
    counts = np.bincount(ratings.user_row, minlength=len(tables.users))
    rated = counts > 0
    anime_id = tables.anime["anime_id"].to_numpy(np.int32)
    return Histories(
        user_id=tables.users["user_id"].to_numpy(np.int64)[rated],
        offsets=np.append(0, np.cumsum(counts[rated])),
        anime_id=anime_id[ratings.anime_row[order]],
        rating=ratings.rating[order],
    )
