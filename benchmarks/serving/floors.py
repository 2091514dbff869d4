"""What the computation alone takes, in this process and on one thread: nothing can be below it."""

import time
from pathlib import Path

from benchmarks.load.latencies import Latencies
from benchmarks.load.requests import query
from benchmarks.load.workload import Ask
from bundles.bundle import Bundle
from bundles.graph import Inputs
from handlers.engine.engine import Engine
from handlers.engine.graph import Graph
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph

NAMES = {
    "onnx": "ONNX Runtime, raw",
    "torchscript": "TorchScript, raw",
    "engine": "engine, one query",
}
WARM_UP = 50  # calls of each that are not counted; TorchScript settles in its first ones


def measure(folder: Path, asks: list[Ask], seconds: float) -> dict[str, Latencies]:
    """Time each floor on the same requests, one of each in turn, for `seconds` altogether."""
    from handlers.engine.torchscript_graph import TorchScriptGraph  # imports torch

    bundle = Bundle.open(folder)
    onnx = OnnxGraph(bundle)
    script = TorchScriptGraph(bundle)
    engine = Engine(bundle, GraphScorer(bundle, onnx))
    spans: dict[str, list[float]] = {name: [] for name in NAMES}
    queries = [query(ask) for ask in asks]
    inputs = [_inputs(bundle, ask) for ask in asks]
    ends_at, place = time.perf_counter() + seconds, 0
    while time.perf_counter() < ends_at or place < 2 * WARM_UP:
        at = place % len(asks)
        for name, graph in (("onnx", onnx), ("torchscript", script)):
            spans[name].append(_timed(graph, inputs[at]))
        began = time.perf_counter()
        engine.rank([queries[at]])
        spans["engine"].append(time.perf_counter() - began)
        place += 1
    return {name: Latencies(found[WARM_UP:]) for name, found in spans.items()}


def _timed(graph: Graph, inputs: Inputs) -> float:
    began = time.perf_counter()
    graph.run(inputs)
    return time.perf_counter() - began


def _inputs(bundle: Bundle, ask: Ask) -> Inputs:
    import numpy as np

    return {
        "user_id": np.array([ask.user_id], np.int64),
        "history_ids": ask.history_ids[None],
        "history_ratings": ask.history_ratings[None],
        "profile": np.full((1, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": ask.candidate_ids[None],
    }
