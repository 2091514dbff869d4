"""The queue before a backend: who may wait in it, and who goes together into the next batch."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from anirank.errors import DeadlinePassed, InvalidQuery
from handlers.facade.batching.line import Line
from handlers.facade.telemetry.request import ObservedRequest

# Queries in one batch, so that a batch of tiny ones stays within what the binary form carries.
MOST_QUERIES = 256
# A query is large where fewer than so many of its size fit into a batch.
SMALL_IN_A_BATCH = 4
# Of the places, large queries may hold one in so many, and patient ones.
_LARGE_SHARE = 2
_PATIENT_SHARE = 4


Answered = TypeVar("Answered")


class Answer(NamedTuple, Generic[Answered]):
    """A backend's answer, and how many seconds the query waited for its batch."""

    result: Answered | InvalidQuery
    queue_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A query in the queue.

    candidates: how many are scored for it. patient: it waits for a place rather than be refused.
    arrived, deadline: the event loop's time, in seconds. answer: for who asked. caller: who takes
    turns with others: a connection, or a stream. observed: the request that it is of, where that is
    observed.
    """

    query: Any
    candidates: int
    patient: bool
    arrived: float
    deadline: float | None
    answer: asyncio.Future[Answer[Any]]
    caller: Hashable = None
    observed: ObservedRequest | None = None


class Queue:
    """Queries that wait for a batch; neither large ones nor small ones, nor streams, hog it.

    Order. A batch is answered as a whole, so its candidates bound how long anyone in it waits: at
    most `largest_batch`, or one query that has more. Large queries (above a quarter of that) and
    small ones wait in lines of their own; where both wait, batches alternate between the lines. In
    each line callers take turns. So whatever arrives after it, a caller's first query sees one of
    each other caller in its line go first, and about as many batches of the other line.

    Places. Large queries hold at most a half of them, and patient ones, those of streams, a
    quarter: a quarter is left that only small queries of calls can take. A place that gets free
    goes to a patient query first, while these hold less than their quarter; streams take turns.
    """

    def __init__(self, places: int, largest_batch: int) -> None:
        """Let `places` queries wait."""
        self._places = places
        self._largest_batch = largest_batch
        self._small: Line[Waiting] = Line()
        self._large: Line[Waiting] = Line()
        self._large_next = False
        self._outside: Line[Waiting] = Line()  # patient ones without a place
        self._patient = 0  # patient ones with a place

    def __len__(self) -> int:
        """How many have a place."""
        return len(self._small) + len(self._large)

    @property
    def batches(self) -> int:
        """About how many batches those who have a place are."""
        small = sum(waiting.candidates for waiting in self._small)
        by_queries = -(-len(self._small) // MOST_QUERIES)
        return max(-(-small // self._largest_batch), by_queries) + len(self._large)

    def put(self, waiting: Waiting) -> bool:
        """Let a query wait; False where there is no place for it."""
        if waiting.patient:
            self._outside.append(waiting)
            self._admit()
            return True
        if self._has_place(waiting):
            self._line(waiting).append(waiting)
            return True
        return False

    def remove(self, waiting: Waiting) -> None:
        """Take out a query that nobody waits for any more; nothing where a batch has it already."""
        if self._line(waiting).remove(waiting):
            self._patient -= waiting.patient
        else:
            self._outside.remove(waiting)
        self._admit()

    def take(self, now: float) -> list[Waiting]:
        """The next batch, empty where nobody waits; who is past the deadline fails instead."""
        batch = self._from(self._large_next, now)
        if not batch:
            self._large_next = not self._large_next
            batch = self._from(self._large_next, now)
        self._large_next = not self._large_next
        return batch

    def _from(self, large: bool, now: float) -> list[Waiting]:
        line = self._large if large else self._small
        batch: list[Waiting] = []
        candidates = 0
        while line and len(batch) < MOST_QUERIES:
            if batch and candidates + line.next.candidates > self._largest_batch:
                break
            waiting = line.popleft()
            self._patient -= waiting.patient
            self._admit()
            if waiting.answer.done():
                continue
            if waiting.deadline is not None and now >= waiting.deadline:
                waiting.answer.set_exception(DeadlinePassed("the deadline passed in the queue"))
                continue
            batch.append(waiting)
            candidates += waiting.candidates
        return batch

    def _is_large(self, waiting: Waiting) -> bool:
        return waiting.candidates * SMALL_IN_A_BATCH > self._largest_batch

    def _line(self, waiting: Waiting) -> Line[Waiting]:
        return self._large if self._is_large(waiting) else self._small

    def _has_place(self, waiting: Waiting) -> bool:
        if len(self) >= self._places:
            return False
        if waiting.patient:
            return self._patient < max(self._places // _PATIENT_SHARE, 1)
        if self._is_large(waiting):
            return len(self._large) < max(self._places // _LARGE_SHARE, 1)
        return True

    def _admit(self) -> None:
        while self._outside and self._has_place(self._outside.next):
            waiting = self._outside.popleft()
            self._patient += 1
            self._line(waiting).append(waiting)
