"""`light/` of a bundle: all that a page or a phone needs, and nothing of single users."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bundles.bundle import LIGHT, LIGHT_CATALOGUE
from bundles.facets import Facets
from bundles.files import write_text
from bundles.manifest import Manifest
from export.facets import facets
from export.onnx_graph import write_onnx
from export.parity import check, requests
from training.folding.served import Light, Served
from training.loop.progress import SILENT, Stages
from training.run import Run
from training.tables.tables import Tables, adult

# Columns of facets of which an anime has one value at most.
SINGLE = ("types", "sources", "age_ratings")


def write_light(
    light: Light,
    made: Served,
    run: Run[Any],
    tables: Tables,
    manifest: Manifest,
    folder: Path,
    stages: Stages = SILENT,
) -> Manifest:
    """Write the graph and the catalogue into the bundle in `folder`; the manifest that tells of it.

    Raises ParityError where ONNX does not answer as the model of rounded numbers does.
    """
    (folder / LIGHT).parent.mkdir()
    stages.begin("writing the light graph")
    form = write_onnx(light.ranker, len(manifest.profile), folder / LIGHT, manifest.described())
    write_text(
        folder / LIGHT_CATALOGUE,
        json.dumps(
            light_catalogue(tables.anime, manifest), ensure_ascii=False, separators=(",", ":")
        ),
    )
    batches = requests(tables, made.profiles, run.settings.seed)
    parity = check(light.exact, light.trained, {"ONNX": form}, batches, len(tables.anime), stages)
    # The same requests as those of the whole bundle, whose report says what they were.
    told = {
        "largest_difference": parity.largest_difference,
        "order": parity.order,
        "metrics": light.metrics,
    }
    return replace(manifest, light=told)


def light_catalogue(anime: pd.DataFrame, manifest: Manifest) -> dict[str, Any]:
    """What a page shows and filters by, in columns: docs/bundle-format.md says what each holds."""
    found = facets(anime)
    assert found.years is not None
    assert found.episodes is not None
    assert manifest.wide is not None
    names = anime["name"].fillna("")
    other = anime["english_name"].where(anime["english_name"].ne(names)).fillna("")
    return {
        **manifest.described(),
        "wide": manifest.wide.declared(),
        "anime_id": anime["anime_id"].tolist(),
        "title": names.tolist(),
        "english": other.tolist(),
        "years": found.years.tolist(),
        "episodes": found.episodes.tolist(),
        "adult": adult(anime).astype(int).tolist(),
        "facets": {name: _column(found, name, len(anime)) for name in dict.fromkeys(found.columns)},
    }


def _column(found: Facets, name: str, anime: int) -> dict[str, list[Any]]:
    """The values of a column, and by anime the places of its own."""
    values: list[str] = []
    of: list[list[int]] = [[] for _ in range(anime)]
    for at, (column, value) in enumerate(zip(found.columns, found.values, strict=True)):
        if column == name:
            for row in found.rows[found.offsets[at] : found.offsets[at + 1]]:
                of[row].append(len(values))
            values.append(value)
    if name in SINGLE:
        return {"values": values, "of": [each[0] if each else -1 for each in of]}
    return {"values": values, "of": of}
