"""What one request costs with nothing around it: the graph alone, and a whole recommendation.

    python -m benchmarks.serving.graph model_store/anime/1

The graph scores candidates for a history on one core, in ONNX Runtime. Then each engine, called in
turn with the other, ranks the same candidates, ten answered, and recommends ten of the whole
catalogue to known users: by affinity, which leaves most of it unrated, with reasons as well, and by
rating, which has to rate it all. ONNX Runtime has `--threads` cores for that, compiled code takes
one for a request. At the end, where the time of the graph goes: microseconds by kind of node, as
ONNX Runtime's profiler tells (it adds some to each).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bundles.bundle import ONNX, Bundle
from handlers.engine.engine import Engine
from handlers.engine.loading import engine_of
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Objective, Query
from handlers.engine.scorer import can_compile

USERS = 50  # recommended to in turn
UNTIMED = 3
SHOWN = 10  # kinds of nodes, the dearest first


def medians_ms(calls: Sequence[Callable[[int], object]], times: int) -> list[float]:
    """Median milliseconds of each of some calls, made in turn and told their number."""
    spent: list[list[float]] = [[] for _ in calls]
    for number in range(times + UNTIMED):
        for call, taken in zip(calls, spent, strict=True):
            began = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken[UNTIMED:]) * 1e3 for taken in spent]


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
    [alone] = medians_ms([lambda _: graph.run(inputs)], 300)
    engines = [engine_of(bundle, "onnxruntime", threads=options.threads)]
    engines += [engine_of(bundle, "compiled")] if can_compile(bundle.manifest) else []
    for engine in engines:
        engine.warm_up()
    ranked = Query(
        candidate_ids=inputs["candidate_ids"][0],
        history_ids=inputs["history_ids"][0],
        history_ratings=inputs["history_ratings"][0],
        top_k=10,
    )
    users = bundle.histories.user_id[:USERS].tolist()
    print(
        f"{bundle.manifest.preset}, {len(ids):,} anime\n"
        f"graph, {options.candidates} candidates, history {options.history}, one core: "
        f"{alone:.2f} ms"
    )
    for what, queries in (
        ("ranking them, ten answered", [ranked]),
        ("recommendation", _of(users, Query(top_k=10))),
        ("the same with reasons", _of(users, Query(top_k=10, explain=True))),
        ("the same by rating", _of(users, Query(top_k=10, objective=Objective.RATING))),
    ):
        spent = medians_ms([partial(_rank, engine, queries) for engine in engines], 50)
        told = ", ".join(f"{of.name} {ms:.2f} ms" for of, ms in zip(engines, spent, strict=True))
        print(f"{what}: {told} ({spent[0] / spent[-1]:.1f} ×)")

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


def _of(users: Sequence[int], asked: Query) -> list[Query]:
    return [replace(asked, user_id=user) for user in users]


def _rank(engine: Engine, queries: Sequence[Query], number: int) -> None:
    engine.rank([queries[number % len(queries)]])


if __name__ == "__main__":
    main()
