"""One request as it is observed, and what hears of it; knows no metrics, no log and no traces."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from anirank.errors import ServingError
from handlers.engine.query import LiveHistory
from handlers.facade.status import code_of


class AnyQuery(Protocol):
    """What is asked, of whichever method."""

    @property
    def candidate_ids(self) -> NDArray[np.int64] | None:
        """int64[N], None where the whole catalogue is."""

    @property
    def top_k(self) -> int | None:
        """How many to answer, None for all."""


class AnyRanking(Protocol):
    """What is answered."""

    @property
    def anime_ids(self) -> NDArray[np.int64]:
        """int64[K], best first."""

    @property
    def compute_s(self) -> float:
        """Seconds from the batch's start until it was ready."""


class Caller(Protocol):
    """Who asks, over whichever protocol; the server's side of a gRPC call is one."""

    def peer(self) -> str:
        """Its connection, as gRPC says it: `ipv4:192.0.2.1:1234`."""

    def time_remaining(self) -> float | None:
        """Seconds until it waits no longer; None where it has not said."""

    def invocation_metadata(self) -> Any:
        """Pairs of a name in lower case and a value, of which some may be bytes."""

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Send pairs of a name and a value along with the end."""


class Trace(Protocol):
    """What a request that is traced carries along."""

    @property
    def id(self) -> str:
        """The trace's id, as W3C Trace Context writes it."""


class ObservedRequest:
    """One request, to be used as a context manager; what is learnt of it is set on the way.

    id: the call's, and for a message of a stream that message's as well. code: the name of the gRPC
    code it ends with. version: which answers, once chosen. query, ranking: what was asked and
    answered. queue_s: seconds the query waited for its batch.
    started, queued: when its message was there and when its query was handed to the batcher, in
    seconds of the monotonic clock. total_s: from its message to its end. trace: its own, where
    requests are traced. sink: hears of its begin and its end, and of its batch.
    """

    __slots__ = (
        "code", "context", "failure", "id", "method", "query", "queue_s", "queued", "ranking",
        "sink", "started", "total_s", "trace", "version",
    )  # fmt: skip

    def __init__(self, sink: "Sink", method: str, name: str, context: Caller) -> None:
        self.sink = sink
        self.method = method
        self.id = name
        self.context = context
        self.code = "OK"
        self.failure: ServingError | None = None
        self.version = ""
        self.query: AnyQuery | None = None
        self.ranking: AnyRanking | None = None
        self.started = self.queued = self.queue_s = self.total_s = 0.0
        self.trace: Trace | None = None

    def __enter__(self) -> "ObservedRequest":
        self.started = time.monotonic()
        self.sink.began(self)
        return self

    def asked(self, query: AnyQuery, version: str) -> None:
        """Take the query, which a version is about to be asked."""
        self.query = query
        self.version = version
        self.queued = time.monotonic()

    def answered(self, ranking: AnyRanking, queue_s: float) -> None:
        """Take the answer, and how many seconds the query waited for its batch."""
        self.ranking = ranking
        self.queue_s = queue_s

    def ended_with(self, outcome: bytes | ServingError) -> None:
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
            self.code = self._code_of_exception(error)
        self.sink.ended(self)

    def _code_of_exception(self, error: BaseException) -> str:
        """The code of a call that an exception ends which is no failure of the request."""
        if not isinstance(error, asyncio.CancelledError):
            return "UNKNOWN"  # gRPC's own for what a method lets out
        left_s = self.context.time_remaining()  # a deadline that passes cancels, as callers do
        return "CANCELLED" if left_s is None or left_s > 0 else "DEADLINE_EXCEEDED"


class Sink:
    """What observations are handed to; it does nothing with those that it does not override."""

    def called(self, method: str) -> None:
        """Take a call that has arrived, of which no message is read yet."""

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Take a request that was refused before any message of it was read."""

    def capped(self, cap: str, message: str) -> None:
        """Take a call that was ended because of a cap, whose name is one of few."""

    def began(self, request: ObservedRequest) -> None:
        """Take a request whose message is there."""

    def ended(self, request: ObservedRequest) -> None:
        """Take a request that has ended."""

    def batch(
        self, requests: Sequence[ObservedRequest], candidates: int, backend: str
    ) -> AbstractContextManager[Any]:
        """Take a batch at its backend, from here to the end of a `with`."""
        return nullcontext()

    def fell_back(self) -> None:
        """Take a batch that another backend than its own computes."""

    def state(self, ready: bool, queued: int, name: str, shares: Mapping[str, float]) -> None:
        """Take what is served now.

        ready: whether a request would be answered. queued: how many wait for a batch. name: the
        model's. shares: of the requests that name no version, by version; they add up to 1.
        """

    def follows(self, followed: bool) -> None:
        """Take whether the store was seen when it was last looked at for new versions."""

    def consulted(self, live: LiveHistory, seconds: float) -> None:
        """Take a look at what was recorded of a user: what came of it, and what it took."""

    def histories(self, fault: str | None) -> None:
        """Take why the store of histories did not answer, None where it did."""
