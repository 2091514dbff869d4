"""The light graph of a bundle as a bundle of its own: what an engine answers with, for a page to be
held to."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bundles.bundle import LIGHT, LIGHT_CATALOGUE, ONNX, Bundle
from bundles.crosses import Crosses
from bundles.tables import PersonalTables
from bundles.wide import read_wide
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph

OFFSET = 2**15  # which rows of int16 are kept less


def tables(folder: Path) -> dict[str, NDArray[np.float64]]:
    """By name, the tables in the light graph of the bundle in `folder`."""
    graph = onnx.load(folder / LIGHT).graph
    return {each.name: numpy_helper.to_array(each).astype(np.float64) for each in graph.initializer}


def crosses(folder: Path, bundle: Bundle) -> Crosses:
    """Those of the light graph, by what docs/bundle-format.md says of its tables."""
    found = tables(folder)
    [kept] = [
        numpy_helper.to_array(each)
        for each in onnx.load(folder / LIGHT).graph.initializer
        if each.name == "crossed"
    ]
    rows = kept.astype(np.int64) + (OFFSET if kept.dtype == np.int16 else 0)
    place = found["crossing"].astype(np.int64)[1:]
    weight = (found["cross_weights"] * found["cross_weights_step"])[place]
    weight[place == 0] = 0
    assert bundle.crosses is not None
    page = json.loads((folder / LIGHT_CATALOGUE).read_text("utf-8"))
    return Crosses(
        candidate=np.maximum(rows[place] - 1, 0).astype(np.int32),
        weight=weight.astype(np.float32),
        expected=found["expected"][1:] * found["expected_step"],
        genre=bundle.crosses.genre,
        wide=read_wide(page["wide"]),
    )


def light_engine(folder: Path, into: Path) -> Engine:
    """An engine that answers with the light graph of the bundle in `folder`; files go to `into`."""
    shutil.copytree(folder, into, ignore=shutil.ignore_patterns("ranker*"))
    shutil.copy(folder / LIGHT, into / ONNX)
    bundle = Bundle.open(into, verify=False)
    found = tables(folder)
    assert isinstance(bundle.tables, PersonalTables)
    # The others are 0: of the axes that the vectors were turned to, only those in use are kept.
    anime = np.zeros_like(bundle.tables.anime)
    codes = found["anime_vectors"]
    anime[:, : codes.shape[1]] = codes
    bundle = replace(
        bundle,
        crosses=crosses(folder, bundle),
        tables=bundle.tables._replace(anime=anime),
    )
    return Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))
