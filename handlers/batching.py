"""Batches that form by themselves: what arrives while the backend is busy goes together."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from handlers.backends import Backend
from handlers.errors import DeadlinePassed, InvalidQuery, Overloaded
from handlers.query import Limits, Query, Ranking

# Candidates in one batch: about 10 ms of scoring on one core, so that nobody waits long behind it.
LARGEST_BATCH = 65_536
# Queries in one batch, so that a batch of tiny ones stays within what the binary form carries.
MOST_QUERIES = 256


class Answer(NamedTuple):
    """What the backend said, and how many seconds the query waited for its batch."""

    result: Ranking | InvalidQuery
    queue_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A query in the queue; times are the event loop's, in seconds."""

    query: Query
    candidates: int
    arrived: float
    deadline: float | None
    answer: "asyncio.Future[Answer]"


class Batcher:
    """Hands queries to a backend, a batch at a time and without a timer.

    A free backend gets what there is at once; what arrives meanwhile goes with the next batch.
    """

    def __init__(
        self, backend: Backend, catalogue_size: int, limits: Limits, in_flight: int = 1
    ) -> None:
        """Keep up to `in_flight` batches at the backend.

        A query without candidates counts as `catalogue_size` of them.
        """
        self._backend = backend
        self._catalogue_size = catalogue_size
        self._limits = limits
        self._free = in_flight
        self._queue: deque[_Waiting] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._batch_s = 0.0  # how long the last batch took

    async def rank(self, query: Query, timeout_s: float | None = None) -> Answer:
        """Answer one query, within `timeout_s` seconds where given.

        A caller that is cancelled while its query waits takes it out of the queue. Raises
        Overloaded, DeadlinePassed, or what the backend raises.
        """
        if len(self._queue) >= self._limits.queued:
            self._queue = deque(entry for entry in self._queue if not entry.answer.done())
        if len(self._queue) >= self._limits.queued:
            raise Overloaded(f"{len(self._queue)} requests wait already", self._retry_after_s())
        loop = asyncio.get_running_loop()
        now = loop.time()
        candidates = query.candidate_ids
        waiting = _Waiting(
            query,
            self._catalogue_size if candidates is None else len(candidates),
            now,
            None if timeout_s is None else now + timeout_s,
            loop.create_future(),
        )
        self._queue.append(waiting)
        self._dispatch()
        return await waiting.answer

    async def drained(self) -> None:
        """Wait until nothing is in the queue or at the backend."""
        while self._batches:  # while something waits there is a batch: see `_dispatch`
            await asyncio.wait(self._batches)

    def _retry_after_s(self) -> float:
        batches = -(-len(self._queue) // MOST_QUERIES)
        return max(batches * self._batch_s, 0.01)

    def _dispatch(self) -> None:
        while self._free and (batch := self._take()):
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._batches.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._batches.discard)

    def _take(self) -> list[_Waiting]:
        """The next batch: the queue's head, without those whom no answer can reach any more."""
        batch: list[_Waiting] = []
        candidates = 0
        now = asyncio.get_running_loop().time()
        while self._queue and len(batch) < MOST_QUERIES:
            head = self._queue[0]
            if batch and candidates + head.candidates > LARGEST_BATCH:
                break
            self._queue.popleft()
            if head.answer.done():
                continue
            if head.deadline is not None and now >= head.deadline:
                head.answer.set_exception(DeadlinePassed("the deadline passed in the queue"))
                continue
            batch.append(head)
            candidates += head.candidates
        return batch

    async def _run(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            results = await self._backend.rank([waiting.query for waiting in batch])
        except BaseException as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(Answer(result, started - waiting.arrived))
        finally:
            self._batch_s = loop.time() - started
            self._free += 1
            self._dispatch()
