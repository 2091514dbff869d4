"""What sees every request: the metrics, the log and the traces, each where it is wanted."""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from anime.ranking.v1 import ranking_pb2 as pb

from anirank.errors import BackendUnavailable, InvalidQuery, Overloaded, ServingError
from handlers.engine.query import Familiarity, Query, Ranking
from handlers.facade.status import code_of
from handlers.facade.telemetry.logs import Faults

if TYPE_CHECKING:
    from handlers.facade.telemetry.metrics import Metrics
    from handlers.facade.telemetry.tracing import RequestTrace, Tracing
    from handlers.facade.versions.roster import Roster

_SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"]
_METHODS = {method.name for method in _SERVICE.methods}
SERVICE = _SERVICE.full_name
REQUEST_ID = "x-request-id"  # in the metadata of a call and in the trailing metadata of its end
LONGEST_ID = 128  # characters
_OVERLOAD = "overload"

# Who sees the batch of this task.
_SEES: "ContextVar[Observer | None]" = ContextVar("sees", default=None)

log = logging.getLogger("handlers.requests")


class Observer:
    """Sees the requests of one façade from their message to their reply."""

    def __init__(self, metrics: "Metrics | None" = None, tracing: "Tracing | None" = None) -> None:
        """Hand what is seen to `metrics` and `tracing`, and to the log in any case."""
        self.metrics = metrics
        self.tracing = tracing
        self.faults = Faults()

    def name_call(self, context: grpc.aio.ServicerContext) -> str:
        """The id of a call: its caller's if that is one, else a new one. It leaves with the call.

        An id is 1 to 128 printable ASCII characters in the metadata `x-request-id`.
        """
        name = ""
        for key, value in context.invocation_metadata():
            if key == REQUEST_ID:
                name = value
        if not (0 < len(name) <= LONGEST_ID and name.isascii() and name.isprintable()):
            name = secrets.token_hex(16)
        context.set_trailing_metadata(((REQUEST_ID, name),))
        return name

    def request(
        self, method: str, context: grpc.aio.ServicerContext, name: str | None = None
    ) -> "ObservedRequest":
        """See a request from here to the end of a `with`.

        name: its id, where it is not the call's.
        """
        return ObservedRequest(self, method, name or self.name_call(context), context)

    def look(self, roster: "Roster", ready: bool) -> None:
        """Take what is served now, and whether a request would be answered."""
        if self.metrics is not None:
            self.metrics.ready(ready)
            self.metrics.queued(sum(version.batcher.waiting for version in roster.versions))
            info = roster.describe("")
            total = sum(each.weight for each in info.versions)
            self.metrics.serving(
                (info.name, each.version, each.weight / total) for each in info.versions
            )

    def called(self, method: str) -> None:
        """Count a call that has arrived, of which no message is read yet."""
        if self.metrics is not None:
            self.metrics.called(method)

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Count a request that was refused before any message of it was read."""
        if self.metrics is not None:
            self.metrics.refused(method, code.name)

    def unauthenticated(self, path: str) -> None:
        """Count a call to /SERVICE/METHOD that shows no token that is known."""
        service, _, method = path.removeprefix("/").partition("/")
        if service == SERVICE and method in _METHODS:  # else callers could make up ever new labels
            self.called(method)
            self.refused(method, grpc.StatusCode.UNAUTHENTICATED)


class ObservedRequest:
    """One request, to be used as a context manager; what is learnt of it is set on the way.

    id: the call's, and for a message of a stream that message's as well. code: the name of the gRPC
    code it ends with. version: which answers, once chosen. query, ranking: what was asked and
    answered. queue_s: seconds the query waited for its batch.
    started, queued: when its message was there and when its query was handed to the batcher, in
    seconds of the monotonic clock. total_s: from its message to its end. trace: its own, where
    requests are traced.
    """

    __slots__ = (
        "code", "context", "failure", "id", "method", "observer", "query", "queue_s", "queued",
        "ranking", "started", "total_s", "trace", "version",
    )  # fmt: skip

    def __init__(
        self, observer: Observer, method: str, name: str, context: grpc.aio.ServicerContext
    ) -> None:
        self.observer = observer
        self.method = method
        self.id = name
        self.context = context
        self.code = "OK"
        self.failure: ServingError | None = None
        self.version = ""
        self.query: Query | None = None
        self.ranking: Ranking | None = None
        self.started = self.queued = self.queue_s = self.total_s = 0.0
        self.trace: RequestTrace | None = None

    def __enter__(self) -> "ObservedRequest":
        self.started = time.monotonic()
        if self.observer.metrics is not None:
            self.observer.metrics.began()
        if self.observer.tracing is not None:
            self.trace = self.observer.tracing.begin(self, SERVICE)
        return self

    def asked(self, query: Query, version: str) -> None:
        """Take the query, which a version is about to be asked."""
        self.query = query
        self.version = version
        self.queued = time.monotonic()

    def answered(self, ranking: Ranking, queue_s: float) -> None:
        """Take the answer, and how many seconds the query waited for its batch."""
        self.ranking = ranking
        self.queue_s = queue_s

    def left_with(self, outcome: bytes | ServingError) -> None:
        """Take what the request ends with: a reply, or what stands in its place."""
        if isinstance(outcome, ServingError):
            self.failure = outcome
            self.code = code_of(outcome).name

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.total_s = time.monotonic() - self.started
        if error is not None and self.failure is None:
            self.code = self._code_left_with(error)
        observer = self.observer
        if (metrics := observer.metrics) is not None:
            metrics.ended(self.method, self.code, self.total_s)
            if self.ranking is not None:
                metrics.answered(self.version, self.queue_s, self.ranking.compute_s)
        if observer.tracing is not None:
            observer.tracing.end(self, grpc.StatusCode[self.code].value[0])
        self._tell_faults(observer.faults)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", self.method, self.code, extra=self._fields())

    def _code_left_with(self, error: BaseException) -> str:
        """The code of a call that an exception ends which is no failure of the request."""
        if not isinstance(error, asyncio.CancelledError):
            return "UNKNOWN"  # gRPC's own for what a method lets out
        left_s = self.context.time_remaining()  # a deadline that passes cancels, as callers do
        return "CANCELLED" if left_s is None or left_s > 0 else "DEADLINE_EXCEEDED"

    def _tell_faults(self, faults: Faults) -> None:
        backend = f"backend of version {self.version}"
        if isinstance(self.failure, BackendUnavailable) and self.version:  # else the server ends
            faults.met(backend, str(self.failure))
        elif isinstance(self.failure, Overloaded):
            faults.met(_OVERLOAD, str(self.failure), logging.WARNING)
        elif self.ranking is not None and faults.any:
            faults.spared(backend)
            faults.spared(_OVERLOAD)

    def _fields(self) -> dict[str, object]:
        """What one line of the log says; who the user is it does not say, only whether known."""
        fields: dict[str, object] = {
            "request_id": self.id,
            "method": self.method,
            "code": self.code,
            "model_version": self.version,
            "total_ms": _ms(self.total_s),
            "peer": self.context.peer(),
        }
        if self.query is not None:
            ids = self.query.candidate_ids
            fields["candidates"] = None if ids is None else len(ids)
            fields["top_k"] = self.query.top_k
        if self.ranking is not None:
            fields["user"] = Familiarity(self.ranking.familiarity).name.lower()
            fields["queue_ms"] = _ms(self.queue_s)
            fields["compute_ms"] = _ms(self.ranking.compute_s)
        if isinstance(self.failure, InvalidQuery):
            fields["field"] = self.failure.field
        if self.trace is not None:
            fields["trace_id"] = self.trace.id
        return fields


def at_backend(
    requests: Sequence[ObservedRequest], candidates: int, backend: str
) -> AbstractContextManager[Any]:
    """See a batch of requests, of one façade, at its backend, from here to the end of a `with`.

    candidates: those of all its queries.
    """
    if not requests:
        return nullcontext()
    observer = requests[0].observer
    _SEES.set(observer)  # in the task of this batch alone
    if observer.metrics is not None:
        observer.metrics.batch(len(requests), candidates)
    if observer.tracing is not None:
        return observer.tracing.batch(requests, candidates, backend)
    return nullcontext()


def fell_back() -> None:
    """Count the batch of this task as one that another backend than its own computes."""
    observer = _SEES.get()
    if observer is not None and observer.metrics is not None:
        observer.metrics.fell_back()


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
