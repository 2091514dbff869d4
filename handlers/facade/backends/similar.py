"""What is alike, computed in this process whatever backend ranks: a bundle's tables are enough."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from anirank.errors import BackendUnavailable, InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.engine import SimilarEngine
from handlers.engine.query import Limits
from handlers.similar.query import SimilarQuery, SimilarRanking

# Queries in a batch, each of the whole catalogue: about 10 ms on a core.
QUERIES = 4


class SimilarBackend:
    """Answers in a thread of its own, so that the event loop stays free; see `Computes`."""

    name = "similar"
    in_flight = 1

    def __init__(self, bundle: Bundle, limits: Limits) -> None:
        """Answer for `bundle`; what that takes is made when somebody asks for the first time."""
        self.largest_batch = QUERIES * len(bundle.catalogue)
        self._bundle, self._limits = bundle, limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="similar")

    async def rank(
        self, queries: list[SimilarQuery], timeout_s: float | None = None
    ) -> list[SimilarRanking | InvalidQuery]:
        """Answer every query, in order; see `Computes.rank`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answers, queries)

    def is_quick(self, query: SimilarQuery) -> bool:
        """False: each looks at the whole catalogue."""
        return False

    def rank_now(self, query: SimilarQuery) -> SimilarRanking | InvalidQuery:
        """Answer a query on the event loop."""
        [answer] = self._answers([query])
        return answer

    @cached_property
    def _engine(self) -> SimilarEngine:
        return SimilarEngine(self._bundle, self._limits)

    def _answers(self, queries: list[SimilarQuery]) -> list[SimilarRanking | InvalidQuery]:
        try:
            return [self._engine.answer(query) for query in queries]
        except Exception as error:  # of what computes, whichever it is
            raise BackendUnavailable(f"what finds what is alike failed ({error})") from error

    async def ready(self) -> bool:
        """True: there is nothing that could be gone."""
        return True

    async def close(self) -> None:
        """End the thread once its batch is done, which is not waited for."""
        self._thread.shutdown(wait=False)
