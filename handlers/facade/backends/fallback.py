"""A backend that computes where another does not answer."""

import asyncio
from collections.abc import Collection

from anirank.errors import BackendUnavailable, DeadlinePassed, InvalidQuery
from bundles.bundle import Bundle
from bundles.manifest import Manifest
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.backend import Backend, Opener
from handlers.facade.telemetry.batch import fell_back


class FallbackBackend:
    """One backend, and another of the same bundle for what the first does not answer.

    Both give the same order, and the same scores to a unit in the last place. The first has half of
    a batch's time, so that the other is left the rest.
    """

    def __init__(self, first: Backend, other: Backend) -> None:
        """Ask `first`, by whose name this goes, and `other` where that fails."""
        self._first, self._other = first, other
        self.name = first.name
        self.in_flight = first.in_flight
        self.largest_batch = first.largest_batch

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            return await self._first.rank(queries, None if timeout_s is None else timeout_s / 2)
        except (BackendUnavailable, DeadlinePassed):
            fell_back()
            left_s = None if timeout_s is None else timeout_s - (loop.time() - started)
            return await self._other.rank(queries, left_s)

    def is_quick(self, query: Query) -> bool:
        """Whether the first one says so."""
        return self._first.is_quick(query)

    def rank_now(self, query: Query) -> Ranking | InvalidQuery:
        """Answer a quick query with the first one."""
        return self._first.rank_now(query)

    async def ready(self) -> bool:
        """Whether one of the two is; the first is asked in any case, and may find itself well."""
        return await self._first.ready() or await self._other.ready()

    async def close(self) -> None:
        """Let go of both."""
        await self._first.close()
        await self._other.close()


class FallbackOpener:
    """Opens one backend, and another beside it."""

    def __init__(self, first: Opener, other: Opener) -> None:
        """Open with both; `other` needs nothing but the bundle."""
        self._first, self._other = first, other
        self.files = first.files

    async def probe(self, version: str) -> None:
        """As the first one does."""
        await self._first.probe(version)

    def graphs(self, manifest: Manifest) -> Collection[str]:
        """Those of both."""
        return {*self._first.graphs(manifest), *self._other.graphs(manifest)}

    def rehearse(self, bundle: Bundle) -> None:
        """Load what computes here for both; see `Opener.rehearse`."""
        self._first.rehearse(bundle)
        self._other.rehearse(bundle)

    async def open(self, bundle: Bundle) -> FallbackBackend:
        """A backend for a bundle; raises what either of the two raises."""
        other = await self._other.open(bundle)
        try:
            return FallbackBackend(await self._first.open(bundle), other)
        except BaseException:
            await other.close()
            raise
