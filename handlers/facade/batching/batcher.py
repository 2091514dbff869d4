"""Batches that form by themselves: what arrives while the backend is busy goes together."""

import asyncio
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from anirank.errors import DeadlinePassed, InvalidQuery, Overloaded
from handlers.engine.query import Limits
from handlers.facade.backends.backend import Computes
from handlers.facade.batching.queue import Answer, Queue, Waiting
from handlers.facade.telemetry.batch import at_backend
from handlers.facade.telemetry.request import AnyQuery, AnyRanking, ObservedRequest

Asked = TypeVar("Asked", bound=AnyQuery)
Answered = TypeVar("Answered", bound=AnyRanking)


class Batcher(Generic[Asked, Answered]):
    """Hands queries to a backend, a batch at a time and without a timer.

    A quick query is answered at once, which takes less than to wake up whoever else would. Of the
    others, a free backend gets what there is, and what arrives meanwhile goes with the next batch.
    How much that is, and in which order, is said by `Queue`.
    """

    def __init__(
        self, backend: Computes[Asked, Answered], catalogue_size: int, limits: Limits
    ) -> None:
        """Keep up to `backend.in_flight` batches at the backend, and `limits.queued` queries here.

        A query without candidates counts as `catalogue_size` of them.
        """
        self._backend = backend
        self._catalogue_size = catalogue_size
        self._queue = Queue(max(limits.queued, 1), backend.largest_batch)
        self._free = backend.in_flight
        self._batches: set[asyncio.Task[None]] = set()
        self._batch_s = 0.0  # how long the last batch took

    async def rank(
        self,
        query: Asked,
        timeout_s: float | None = None,
        patient: bool = False,
        observed: ObservedRequest | None = None,
        caller: Hashable = None,
    ) -> Answer[Answered]:
        """Answer one query, within `timeout_s` seconds where given.

        Callers take turns: a stream, or else the connection of `observed`. A patient query waits
        where there is no place in the queue; another is refused. A caller that is cancelled while
        its query waits takes it out of the queue. Raises Overloaded, DeadlinePassed, or what the
        backend raises.
        """
        if timeout_s is not None and timeout_s <= 0:
            raise DeadlinePassed("the deadline passed before the request was read")
        if self._backend.is_quick(query):
            return Answer(self._rank_now(query, observed), 0.0)
        if caller is None and observed is not None:
            caller = observed.context.peer()
        loop = asyncio.get_running_loop()
        now = loop.time()
        ids = query.candidate_ids
        waiting = Waiting(
            query=query,
            candidates=self._catalogue_size if ids is None else len(ids),
            patient=patient,
            arrived=now,
            deadline=None if timeout_s is None else now + timeout_s,
            answer=loop.create_future(),
            caller=caller,
            observed=observed,
        )
        if not self._queue.put(waiting):
            raise Overloaded(
                f"{len(self._queue)} requests wait already",
                max(self._queue.batches * self._batch_s, 0.01),
            )
        self._dispatch()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            self._queue.remove(waiting)
            raise

    def _rank_now(self, query: Asked, observed: ObservedRequest | None) -> Answered | InvalidQuery:
        assert query.candidate_ids is not None, "the whole catalogue is not quick"
        seen = [] if observed is None else [observed]
        with at_backend(seen, len(query.candidate_ids), self._backend.name):
            return self._backend.rank_now(query)

    @property
    def waiting(self) -> int:
        """How many queries are in the queue."""
        return len(self._queue)

    async def drained(self) -> None:
        """Wait until nothing is in the queue or at the backend."""
        while self._batches:  # while something waits there is a batch: see `_dispatch`
            await asyncio.wait(self._batches)

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._free and (batch := self._queue.take(loop.time())):
            self._free -= 1
            task = loop.create_task(self._run(batch))
            self._batches.add(task)  # the loop itself holds tasks only weakly
            task.add_done_callback(self._batches.discard)

    async def _run(self, batch: Sequence[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        observed = [waiting.observed for waiting in batch if waiting.observed is not None]
        candidates = sum(waiting.candidates for waiting in batch)
        try:
            with at_backend(observed, candidates, self._backend.name):
                results = await self._backend.rank(
                    [waiting.query for waiting in batch], _longest_left(batch, started)
                )
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


def _longest_left(batch: Sequence[Waiting], now: float) -> float | None:
    """Seconds until the last deadline of a batch; None where one has no deadline."""
    left = [None if waiting.deadline is None else waiting.deadline - now for waiting in batch]
    return None if None in left else max(seconds for seconds in left if seconds is not None)
