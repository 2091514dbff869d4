"""The graph by its own signature, in this process: what the Open Inference Protocol asks for."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BackendUnavailable, InvalidQuery
from bundles.bundle import Bundle
from bundles.graph import Inputs, Outputs
from handlers.engine.scorer import can_compile

LARGEST_BATCH = 4_096  # candidates, as of the embedded backend

Run = Callable[[Inputs], Outputs]


@dataclass(frozen=True, slots=True, eq=False)
class GraphQuery:
    """One call of the graph; see `handlers.engine.graph.Graph.run`."""

    inputs: Inputs

    @property
    def candidate_ids(self) -> NDArray[np.int64]:
        """int64[B * N], those of all its requests, padding included."""
        ids: NDArray[np.int64] = self.inputs["candidate_ids"].ravel()
        return ids

    @property
    def top_k(self) -> None:
        """None: all are answered."""
        return


@dataclass(frozen=True, slots=True, eq=False)
class GraphAnswer:
    """What the graph answered; compute_s: seconds from the batch's start until it was ready."""

    outputs: Outputs
    compute_s: float

    @property
    def anime_ids(self) -> NDArray[np.int64]:
        """None by itself: scores stand in the order of the candidates."""
        return np.empty(0, np.int64)

    @property
    def listed(self) -> int:
        """How many scores the answer lists."""
        return int(self.outputs["known"].size)


class GraphBackend:
    """Runs the graph in a thread of its own, so that the event loop stays free; see `Computes`."""

    name = "graph"
    in_flight = 1
    largest_batch = LARGEST_BATCH

    def __init__(self, bundle: Bundle, run: Run | None) -> None:
        """Run with `run`, what ranks; without, with compiled code, made when it is first needed."""
        self._bundle, self._given = bundle, run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="graph")

    async def rank(
        self, queries: list[GraphQuery], timeout_s: float | None = None
    ) -> list[GraphAnswer | InvalidQuery]:
        """Answer every query, in order; see `Computes.rank`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answers, queries)

    def is_quick(self, query: GraphQuery) -> bool:
        """False: it is handed to the thread whatever its size."""
        return False

    def rank_now(self, query: GraphQuery) -> GraphAnswer | InvalidQuery:
        """Answer a query on the event loop."""
        [answer] = self._answers([query])
        return answer

    @cached_property
    def _run(self) -> Run:
        if self._given is not None:
            return self._given
        if not can_compile(self._bundle.manifest):
            raise BackendUnavailable(
                "the graph runs in TorchServe, which is not asked by tensors; Numba is not here"
            )
        from handlers.engine.compiled.scorer import CompiledScorer

        return CompiledScorer(self._bundle).run

    def _answers(self, queries: list[GraphQuery]) -> list[GraphAnswer | InvalidQuery]:
        started = time.perf_counter()
        return [self._answer(query, started) for query in queries]

    def _answer(self, query: GraphQuery, started: float) -> GraphAnswer | InvalidQuery:
        try:
            outputs = self._run(query.inputs)
        except BackendUnavailable:
            raise
        except Exception as error:  # of what computes, whichever it is
            raise BackendUnavailable(f"the graph failed ({error})") from error
        if not all(np.isfinite(outputs[name]).all() for name in ("rating", "affinity")):
            return InvalidQuery("profile", "the model has no finite score for these values")
        return GraphAnswer(outputs, time.perf_counter() - started)

    async def ready(self) -> bool:
        """True: there is nothing that could be gone."""
        return True

    async def close(self) -> None:
        """End the thread once its batch is done, which is not waited for."""
        self._thread.shutdown(wait=False)
