"""What the computation alone takes, in a process of its own on one core: nothing is below it."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.load.latencies import Latencies
from benchmarks.load.requests import query
from benchmarks.load.workload import Ask
from bundles.bundle import Bundle
from bundles.graph import Inputs
from handlers.engine.loading import engine_of
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Query

BATCH = 16
RECOMMENDED = 10
NAMES = {
    "onnx": "ONNX Runtime, graph alone",
    "engine": "engine, one query",
    "batch": f"engine, a query of a batch of {BATCH}",
    "recommendation": f"engine, {RECOMMENDED} of the whole catalogue",
}
USERS = 500  # recommended to in turn
WARM_UP = 20  # calls of each that are not counted


class Floors:
    """The floors of a bundle, measured a while at a time.

    with Floors(bundle.folder, asks) as floors:
        by_name = floors.measure(seconds=2)
    """

    def __init__(self, folder: Path, asks: list[Ask]) -> None:
        """Load the bundle in a process of its own, at the first measurement."""
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            1, mp_context=spawn, initializer=_load, initargs=(folder, asks)
        )

    def __enter__(self) -> "Floors":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def measure(self, seconds: float) -> dict[str, Latencies]:
        """Latency of each of `NAMES`, one after the other, for so long altogether."""
        return self._pool.submit(_measure, seconds).result()


_calls: dict[str, Callable[[int], object]]
_place = 0  # the next requests, so that no measurement begins with those of the last


def _load(folder: Path, asks: list[Ask]) -> None:
    global _calls
    bundle = Bundle.open(folder)
    engine, graph = engine_of(bundle), OnnxGraph(bundle)
    queries = [query(ask) for ask in asks]
    inputs = [_inputs(bundle, ask) for ask in asks]
    batches = [[queries[(at + n) % len(queries)] for n in range(BATCH)] for at in range(len(asks))]
    users = np.random.default_rng(0).permutation(bundle.histories.user_id)[:USERS].tolist()
    wanted = [replace(Query(top_k=RECOMMENDED), user_id=user) for user in users]
    _calls = {
        "onnx": lambda at: graph.run(inputs[at % len(inputs)]),
        "engine": lambda at: engine.rank([queries[at % len(queries)]]),
        "batch": lambda at: engine.rank(batches[at * BATCH % len(batches)]),
        "recommendation": lambda at: engine.rank([wanted[at % len(wanted)]]),
    }
    for at in range(WARM_UP):
        for call in _calls.values():
            call(at)


def _measure(seconds: float) -> dict[str, Latencies]:
    return {name: Latencies(_spans(name, seconds / len(_calls))) for name in _calls}


def _spans(name: str, seconds: float) -> list[float]:
    """Seconds of a query, call after call: another floor in between would take the caches."""
    global _place
    call, queries = _calls[name], BATCH if name == "batch" else 1
    spans: list[float] = []
    ends_at = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends_at or not spans:
        call(_place)
        spans.append((time.perf_counter() - began) / queries)
        _place += 1
    return spans


def _inputs(bundle: Bundle, ask: Ask) -> Inputs:
    return {
        "user_id": np.array([ask.user_id], np.int64),
        "history_ids": ask.history_ids[None],
        "history_ratings": ask.history_ratings[None],
        "profile": np.full((1, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": ask.candidate_ids[None],
    }
