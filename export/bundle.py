"""From a run to a bundle: model_store/NAME/VERSION/ and model_store/NAME.mar."""

import hashlib
import importlib.metadata
import json
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from anirank.errors import ExportError
from bundles.files import write_text
from export import graphs
from export.archive import pack
from export.parity import Parity, as_form, check, requests
from training.presets import preset_of
from training.run import Run
from training.seed.encoders import VOCABULARIES
from training.tables.tables import Tables

FORMAT = 1
LIBRARIES = ("torch", "onnx", "onnxscript", "numpy")


@dataclass(frozen=True)
class Exported:
    """What an export made."""

    folder: Path
    archive: Path
    parity: Parity

    def __rich__(self) -> Table:
        table = Table(title="Parity with the training model in float64", title_justify="left")
        table.add_column("form")
        table.add_column("largest difference of a score", justify="right")
        for form, difference in self.parity.largest_difference.items():
            table.add_row(form, f"{difference:.1e}" if difference else "0, bit for bit")
        table.caption = (
            f"{self.parity.scores:,} scores in {self.parity.requests} requests, "
            f"order {self.parity.order}\n{self.folder} and {self.archive}"
        )
        table.caption_justify = "left"
        return table


def export(run: Run[Any], store: Path, name: str, version: str) -> Exported:
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
        parity = _write(run, made, name, version)
        archive = pack(made, store, name, version)
        made.rename(folder)
    return Exported(folder, archive, parity)


def _write(run: Run[Any], folder: Path, name: str, version: str) -> Parity:
    tables = run.tables()
    made = preset_of(run).served(run, tables)
    described = {
        "name": name,
        "version": version,
        "preset": run.settings.name,
        "label": run.settings.label,
        "profile": made.profile,
        "score": {"beta": made.beta, "mean": made.mean},
    }
    columns = len(made.profile)
    forms = {
        "folded": as_form(made.ranker, tuple(graphs.OUTPUTS)),
        "TorchScript": graphs.trace(made.ranker, columns, folder / "ranker.ts"),
        "ONNX": graphs.to_onnx(made.ranker, columns, folder / "ranker.onnx", described),
    }
    batches = requests(tables, made.profiles, run.settings.seed)
    parity = check(made.exact, made.trained, forms, batches, len(tables.anime))
    write_catalogue(tables.anime, folder / "catalogue")
    write_histories(tables, folder / "histories")
    if made.crosses is not None:
        made.crosses.write(folder / "crosses")
    write_text(folder / VOCABULARIES, json.dumps(made.vocabularies, ensure_ascii=False))
    graph: dict[str, Any] = {"uses_history": made.crosses is not None, **graphs.signature()}
    manifest = {
        "format": FORMAT,
        **described,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_fingerprint": run.fingerprint,
        "libraries": {library: importlib.metadata.version(library) for library in LIBRARIES},
        "graph": graph,
        "wide": None if made.crosses is None else made.crosses.described,
        "parity": parity.to_dict(),
        "metrics": made.metrics,
        "files": _listing(folder),
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False))
    return parity


def write_catalogue(anime: pd.DataFrame, folder: Path) -> None:
    """Ids, titles, genres, types and the adult flag as .npy files, one row an anime."""
    folder.mkdir()
    adult = anime["age_rating"].eq("Rx - Hentai")
    adult |= anime["genres"].map(lambda genres: "Hentai" in genres).astype(bool)
    np.save(folder / "anime_id.npy", anime["anime_id"].to_numpy(np.int64))
    np.save(folder / "title.npy", _utf8(anime["name"]))
    np.save(folder / "genres.npy", _utf8(anime["genres"].map(", ".join)))
    np.save(folder / "type.npy", _utf8(anime["type"]))
    np.save(folder / "adult.npy", adult.to_numpy(bool))


def write_histories(tables: Tables, folder: Path) -> None:
    """What each user has rated, as compressed sparse rows in .npy files."""
    folder.mkdir()
    ratings = tables.ratings
    order = np.argsort(ratings.user_row, kind="stable")
    counts = np.bincount(ratings.user_row, minlength=len(tables.users))
    rated = counts > 0
    np.save(folder / "user_id.npy", tables.users["user_id"].to_numpy(np.int64)[rated])
    np.save(folder / "offsets.npy", np.append(0, np.cumsum(counts[rated])))
    anime_id = tables.anime["anime_id"].to_numpy(np.int32)
    np.save(folder / "anime_id.npy", anime_id[ratings.anime_row[order]])
    np.save(folder / "rating.npy", ratings.rating[order])


def _utf8(texts: pd.Series) -> np.ndarray:
    return np.array([(text or "").encode() for text in texts], dtype=np.bytes_)


def _listing(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = {}
    for file in files:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        name = file.relative_to(folder).as_posix()
        listing[name] = {"sha256": digest, "bytes": file.stat().st_size}
    return listing
