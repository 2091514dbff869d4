"""What one request costs with nothing around it: the graph alone, and a whole recommendation.

    python -m benchmarks.serving.graph model_store/anime/1

The graph scores candidates for a history on one core, in ONNX Runtime; the engine recommends ten
of the whole catalogue to known users, on `--threads` cores: by affinity, which leaves most of it
unrated, with reasons as well, and by rating, which has to rate it all. At the end, where the time
of the graph goes: microseconds by kind of node, as ONNX Runtime's profiler tells (it adds some to
each).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bundles.bundle import ONNX, Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Objective, Query

USERS = 50  # recommended to in turn
UNTIMED = 3
SHOWN = 10  # kinds of nodes, the dearest first


def median_ms(call: Callable[[int], object], times: int) -> float:
    """Median milliseconds of one call, which is told its number."""
    spent = []
    for number in range(times + UNTIMED):
        began = time.perf_counter()
        call(number)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[UNTIMED:]) * 1e3


def main() -> None:
    """Measure and print each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--history", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    path, ids = bundle.graph_file(ONNX), bundle.catalogue.anime_id
    chosen = np.random.default_rng(0).permutation(ids)
    inputs = {
        "user_id": np.array([0]),
        "history_ids": chosen[: options.history][None],
        "history_ratings": np.full((1, options.history), 8, np.float32),
        "profile": np.full((1, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": chosen[-options.candidates :][None],
    }
    graph = OnnxGraph(bundle)
    alone = median_ms(lambda _: graph.run(inputs), 300)
    engine = Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle, threads=options.threads)))
    users = bundle.histories.user_id[:USERS].tolist()
    print(
        f"{bundle.manifest.preset}, {len(ids):,} anime\n"
        f"graph, {options.candidates} candidates, history {options.history}, one core: "
        f"{alone:.2f} ms"
    )
    for what, asked in (
        ("recommendation", Query(top_k=10)),
        ("the same with reasons", Query(top_k=10, explain=True)),
        ("the same by rating", Query(top_k=10, objective=Objective.RATING)),
    ):
        asked_by = [replace(asked, user_id=user) for user in users]
        spent = median_ms(partial(_recommend, engine, asked_by), 50)
        print(f"{what}, {options.threads} cores: {spent:.1f} ms")

    spent_us = by_node_us(path, inputs, 300)
    print(
        f"by kind of node, {sum(spent_us.values()):.0f} us in all: "
        + ", ".join(f"{kind} {us:.0f}" for kind, us in spent_us.most_common(SHOWN))
    )


def by_node_us(path: Path, inputs: Mapping[str, object], times: int) -> Counter[str]:
    """Microseconds that a call spends in each kind of node, on one core."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        settings.profile_file_prefix = f"{folder}/profile"
        session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        for _ in range(times):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"] / times
    return spent


def _recommend(engine: Engine, queries: list[Query], number: int) -> None:
    engine.rank([queries[number % len(queries)]])


if __name__ == "__main__":
    main()
