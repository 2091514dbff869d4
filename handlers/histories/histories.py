"""What a server does with histories, whichever way it is asked and whichever store keeps them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BackendUnavailable, HistoriesError
from bundles.histories import Histories as Stored
from handlers.engine.planner import merged
from handlers.engine.query import LiveHistory, Query
from handlers.histories.record import Record, Recorded, forgetting, items_of, recording
from handlers.histories.store import Store

CHECK_S = 1.0  # between two looks at the store
MOST = 2_000  # anime recorded of one user, unless a server says otherwise


class Watched(NamedTuple):
    """What a user has watched, to be recorded.

    anime_ids: int64[N], MyAnimeList ids; ratings: float32[N], 1 to 10, NaN = not rated. request_id:
    the caller's name for it, "" for none; see `recording`.
    """

    user_id: int
    anime_ids: NDArray[np.int64]
    ratings: NDArray[np.float32]
    request_id: str = ""


class History(NamedTuple):
    """What requests of a user are ranked by.

    anime_ids: int64[H]; ratings: float32[H], NaN = not rated; times_ms: int64[H], when it was
    recorded, in milliseconds since 1970, -1 where the bundle has it.
    """

    anime_ids: NDArray[np.int64]
    ratings: NDArray[np.float32]
    times_ms: NDArray[np.int64]
    live_history: LiveHistory


class Histories:
    """Answers from a store, and where that does not answer, as well as can be without.

    well: whether the store answered when it was last asked for what is in it.
    """

    def __init__(
        self, store: Store, most: int = MOST, told: Callable[[str | None], None] | None = None
    ) -> None:
        """Keep up to `most` anime of a user in `store`.

        told: is given why the store does not answer, each time, and None when it does.
        """
        self._store = store
        self._most = most
        self._told = told or (lambda fault: None)
        self._forgotten: frozenset[int] = frozenset()
        self.well = True

    async def counted(self, query: Query) -> tuple[Query, LiveHistory]:
        """A query with what is recorded of its user, and whether there is any.

        That of a user who was forgotten is one of nobody whom the bundle knows.
        """
        if query.user_id is None:
            return query, LiveHistory.UNSPECIFIED
        record, live = await self._record(query.user_id)
        if record.forgotten:
            query = replace(query, user_id=None)
        if len(record.items):
            ids, ratings = record.anime_ids, record.ratings
            query = replace(query, recorded_ids=ids, recorded_ratings=ratings)
        return query, live

    async def history(self, user_id: int, stored: Stored) -> History:
        """What requests of a user are ranked by, beside what a bundle has `stored`."""
        record, live = await self._record(user_id)
        known = stored.of(user_id)
        if record.forgotten:
            known = known[0][:0], known[1][:0]
        ids, ratings = merged(known, (record.anime_ids, record.ratings))
        times = np.full(len(ids), -1, np.int64)
        times[len(ids) - len(record.items) :] = record.items["time_ms"]
        return History(ids, ratings, times, live)

    async def record(self, watched: Watched) -> Recorded:
        """Record what a user has watched; it is kept once this answers.

        Raises InvalidQuery where it is more than may be recorded of a user, Overloaded, and
        BackendUnavailable where the store does not take it, or does not say in time whether it did.
        """
        items = items_of(watched.anime_ids, watched.ratings, time.time_ns() // 1_000_000)
        change = recording(items, watched.request_id, self._most)
        try:
            answer: Recorded = await self._store.update(watched.user_id, change)
        except BackendUnavailable as error:
            self._told(str(error))
            raise
        return answer

    async def forget(self, user_id: int) -> int:
        """Forget a user for good; how many anime were recorded. Raises BackendUnavailable."""
        try:
            removed: int = await self._store.update(user_id, forgetting)
        except BackendUnavailable as error:
            self._told(str(error))
            raise
        self._forgotten |= {user_id}
        return removed

    async def check(self) -> None:
        """Find out whether the store answers, and who has been forgotten by way of others.

        Raises HistoriesError where it is of another schema.
        """
        try:
            self._forgotten |= await self._store.forgotten()
        except BackendUnavailable as error:
            self._fail(error)
        else:
            self._answered()

    async def follow(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.check()
            except HistoriesError as error:  # of a store that was put in the place of ours
                self._fail(BackendUnavailable(str(error)))

    async def close(self) -> None:
        """Let go of the store, once what is being written is."""
        await self._store.close()

    async def _record(self, user_id: int) -> tuple[Record, LiveHistory]:
        """The record of a user; who is known to be forgotten is so whatever the store says."""
        try:
            record, live = await self._store.get(user_id), LiveHistory.COUNTED
        except BackendUnavailable as error:
            self._fail(error)
            record, live = Record(), LiveHistory.UNAVAILABLE
        else:
            if not self.well:
                self._answered()
            if not len(record.items):
                live = LiveHistory.NONE
        if user_id in self._forgotten and not record.forgotten:
            record = replace(record, forgotten=True)
        return record, live

    def _answered(self) -> None:
        self.well = True
        self._told(None)

    def _fail(self, error: BackendUnavailable) -> None:
        self.well = False
        self._told(str(error))
