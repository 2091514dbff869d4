"""From a run to a bundle: model_store/NAME/VERSION/ and model_store/NAME.mar."""

import importlib.metadata
import re
from collections.abc import Mapping
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
from bundles.bundle import AFFINITY, LIGHT, MANIFEST, ONNX, TORCHSCRIPT, Bundle, write_bundle
from bundles.catalogue import Catalogue
from bundles.graph import OUTPUTS
from bundles.histories import Histories
from bundles.manifest import Manifest, Users
from export.archive import SCRATCH, pack
from export.card import write_card
from export.facets import facets
from export.light import write_light
from export.onnx_graph import write_onnx
from export.onnx_part import agreeing, write_affinity
from export.parity import Form, Parity, as_form, check, requests
from export.torchscript_graph import write_torchscript
from handlers import folders
from handlers.engine.compiled.scorer import CompiledScorer
from training.folding.served import Served
from training.loop.lock import locked
from training.loop.progress import SILENT, Stages
from training.presets import preset_of
from training.run import Run
from training.tables.tables import Tables, adult

LIBRARIES = ("torch", "onnx", "onnxscript", "numpy")


@dataclass(frozen=True)
class Exported:
    """What an export made, what it tells of users, and what the light graph is worth, if any."""

    folder: Path
    archive: Path
    parity: Parity
    users: Users
    light: Mapping[str, Any] | None = None

    def __rich__(self) -> Group:
        table = Table(title="Parity with the training model in float64", title_justify="left")
        table.add_column("form")
        table.add_column("largest difference of a score", justify="right")
        for form, difference in self.parity.largest_difference.items():
            table.add_row(form, f"{difference:.1e}" if difference else "0, bit for bit")
        notes = [self.parity.compared(), self._told(), f"{self.folder} and {self.archive}"]
        if self.light is not None:
            notes.insert(2, self._smaller(self.light))
        return Group(table, *map(Text, notes))

    def _smaller(self, light: Mapping[str, Any]) -> str:
        file = self.folder / LIGHT
        text = f"{file}: {file.stat().st_size / 1e6:.1f} MB, of no user"
        if not light["metrics"]:
            return f"{text}; what its size costs is not measured, since no ratings were held out."
        whole, small = light["metrics"]["whole"], light["metrics"]["light"]
        return (
            f"{text}; on the test rows NDCG@10 {small['ndcg']:.4f} (whole {whole['ndcg']:.4f}), "
            f"RMSE {small['rmse']:.4f} (whole {whole['rmse']:.4f})."
        )

    def _told(self) -> str:
        if not self.users.count:
            return "Holds nothing of single users."
        *others, last = self.users.fields
        return (
            f"Whoever has these files has of {self.users.count:,} users: {', '.join(others)} and "
            f"{last}. --no-users leaves them out."
        )


def export(
    run: Run[Any],
    store: Path,
    name: str,
    version: str,
    users: bool = True,
    light: bool = False,
    stages: Stages = SILENT,
) -> Exported:
    """Make the bundle and the .mar, or nothing.

    users: whether they hold what is known of single users; else everybody is a new user to them.
    light: whether the bundle has the graph for small places as well. Raises ExportError where the
    name or version is not fit for a path or is taken, ParityError where the forms of the model
    disagree, RunError where another export writes to the store or the preset has no light graph,
    and RunError and DataError from the run.
    """
    for what, text in (("name", name), ("version", version)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
            raise ExportError(f"{what} {text!r}: use letters, digits, '.', '_' and '-'")
    folder = store / name / version
    with locked(store, "export"):
        if folder.exists():
            raise ExportError(f"{folder}: exists; a version never changes, give another one")
        folder.parent.mkdir(exist_ok=True)
        return _export(run, store, name, version, users, light, stages)


def _export(
    run: Run[Any], store: Path, name: str, version: str, users: bool, light: bool, stages: Stages
) -> Exported:
    folder = store / name / version
    with folders.scratch(SCRATCH, folder.parent) as scratch:
        made = scratch / "bundle"
        made.mkdir()
        written, parity = _write(run, made, name, version, users, light, stages)
        stages.begin("packing the .mar")
        archive = pack(made, store, name, version)
        made.rename(folder)
    assert written.users is not None
    return Exported(folder, archive, parity, written.users, written.light)


def _write(
    run: Run[Any], folder: Path, name: str, version: str, users: bool, light: bool, stages: Stages
) -> tuple[Manifest, Parity]:
    stages.begin("reading the run")
    tables, preset = run.tables(), preset_of(run)
    small = preset.light(run, tables, stages) if light else None  # first, since not all have one
    made = preset.served(run, tables, users, stages)
    watched = histories(tables if users else tables.without_users())
    manifest = _manifest(run, made, name, version, _users(made, watched))
    forms = _write_graphs(made, manifest, folder, stages)
    if small is not None:
        manifest = write_light(small, made, run, tables, manifest, folder, stages)
    stages.begin("writing the tables")
    write_card(folder, run, tables, manifest)
    written = write_bundle(
        folder,
        manifest,
        catalogue(tables.anime),
        watched,
        made.crosses,
        made.vocabularies,
        made.tables,
        facets(tables.anime),
    )
    if made.tables is not None:
        forms["compiled"] = CompiledScorer(Bundle.open(folder, verify=False)).run
    batches = requests(tables, made.profiles, run.settings.seed)
    parity = check(made.exact, made.trained, forms, batches, len(tables.anime), stages)
    written = replace(written, parity=parity.to_dict())
    written.write(folder / MANIFEST)
    return written, parity


def _users(made: Served, watched: Histories) -> Users:
    """Of whom the graph or the histories hold anything, and what."""
    count = len(np.union1d(made.users, watched.user_id))
    learnt = ["embedding"] if made.embeds_users else []
    stored = [field.name for field in made.profile] + learnt
    return Users(count, ("user_id", *stored, "history") if count else ())


def _manifest(run: Run[Any], made: Served, name: str, version: str, users: Users) -> Manifest:
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
        users=users,
        updated_from=run.updated_from(),
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
