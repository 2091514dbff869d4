"""What computes the scores behind the façade, and the one that does so in this process."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from anirank.errors import BackendUnavailable, InvalidQuery
from handlers.engine.engine import Engine
from handlers.engine.query import Query, Ranking


class Backend(Protocol):
    """Answers batches of queries.

    name: what GetModelInfo calls it. in_flight: batches it computes at a time. largest_batch: the
    candidates of one batch; it is answered as a whole, so they bound how long its queries wait for
    each other, and should be many enough that what a batch costs by itself is little beside them.
    """

    name: str
    in_flight: int
    largest_batch: int

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; after `timeout_s` seconds nobody waits for it any more.

        Raises BackendUnavailable where none can be answered, or DeadlinePassed.
        """

    async def ready(self) -> bool:
        """Whether a batch would be answered now."""

    async def close(self) -> None:
        """Let go of threads and connections."""


class EmbeddedBackend:
    """An engine in this process, in a thread of its own, so that the event loop stays free."""

    name = "onnxruntime"
    in_flight = 1
    largest_batch = 4_096  # about 10 ms on a core; handing a batch over takes about 0.2

    def __init__(self, engine: Engine) -> None:
        """Answer with `engine`."""
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._engine.rank, queries)
        except Exception as error:  # of the graph's library, whichever it is
            raise BackendUnavailable(f"the graph failed ({error})") from error

    async def ready(self) -> bool:
        """True: an engine that stands is ready."""
        return True

    async def close(self) -> None:
        """End the thread once its batch is done, which is not waited for."""
        self._thread.shutdown(wait=False)
