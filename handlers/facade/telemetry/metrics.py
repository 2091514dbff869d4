"""What Prometheus reads: requests, times, batches and versions, in a registry of their own."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from handlers.engine.query import LiveHistory
from handlers.facade.telemetry.request import ObservedRequest, Sink

# From a small batch on an idle core to a queue that waits for a backend to come back.
SECONDS = (
    0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
# From a look into memory to a Redis that is given up.
HISTORY_SECONDS = (0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.05, 0.25, 0.5)
QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CANDIDATES = (1, 10, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 65_536)

# When each series began is a series more for each; Prometheus takes note of it by itself.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it ships without


class Metrics(Sink):
    """The numbers of one façade.

    registry: holds them; where PROMETHEUS_MULTIPROC_DIR was set before prometheus_client was
    imported, they stand in files of that folder instead, and a MultiProcessCollector adds up those
    of all processes.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "anirank_calls",
            "Calls that arrived, by method; gRPC itself refused what is missing in the requests.",
            ("method",),
            registry=self.registry,
        )
        self._requests = Counter(
            "anirank_requests",
            "Requests that ended, by method and gRPC code.",
            ("method", "code"),
            registry=self.registry,
        )
        self._capped = Counter(
            "anirank_capped_calls",
            "Calls that were ended because of a cap, by its name.",
            ("cap",),
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "anirank_requests_in_flight",
            "Requests that have begun and not ended.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._request_s = self._histogram(
            "anirank_request_seconds",
            "From a request's message to its reply.",
            SECONDS,
            ("method",),
        )
        self._queue_s = self._histogram(
            "anirank_queue_seconds",
            "What an answered request waited for its batch: the reply's queue_time.",
            SECONDS,
            ("version",),
        )
        self._compute_s = self._histogram(
            "anirank_compute_seconds",
            "From a batch's start to a request's answer: the reply's compute_time.",
            SECONDS,
            ("version",),
        )
        self._batch_queries = self._histogram(
            "anirank_batch_queries", "Queries in a batch.", QUERIES
        )
        self._batch_candidates = self._histogram(
            "anirank_batch_candidates", "Candidates in a batch, of all its queries.", CANDIDATES
        )
        self._fallbacks = Counter(
            "anirank_fallback_batches",
            "Batches that the fallback computed, for the backend did not.",
            registry=self.registry,
        )
        self._queue_length = Gauge(
            "anirank_queue_length",
            "Requests that wait for a batch.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._share = Gauge(
            "anirank_model_share",
            "Share that each version served has of the requests that name none; 0 once let go.",
            ("name", "version"),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._ready = Gauge(
            "anirank_ready",
            "1 where requests would be answered now, as the health check says, else 0.",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self._followed = Gauge(
            "anirank_store_followed",
            "1 where the store was seen when it was last looked at for new versions, else 0.",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self._history_s = self._histogram(
            "anirank_history_seconds",
            "What it took to look up what was recorded of a user, by what came of it.",
            HISTORY_SECONDS,
            ("live_history",),
        )
        self._histories = Gauge(
            "anirank_histories_ready",
            "1 where the store of histories answered when last asked, or none is kept, else 0.",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self._histories.set(1)
        ProcessCollector(registry=self.registry)
        # Looked up here at every request: `labels` would take a lock each time.
        self._called: dict[str, Counter] = {}
        self._counted: dict[tuple[str, str], Counter] = {}
        self._timed: dict[str, Histogram] = {}
        self._answered: dict[str, tuple[Histogram, Histogram]] = {}
        self._looked_up: dict[LiveHistory, Histogram] = {}
        self._shared: set[tuple[str, str]] = set()

    def called(self, method: str) -> None:
        """Count a call that has arrived; for a stream it is one, whatever comes over it."""
        called = self._called.get(method)
        if called is None:
            called = self._called[method] = self._calls.labels(method)
        called.inc()

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Count a request that never began."""
        self._count(method, code.name)

    def capped(self, cap: str, message: str) -> None:
        """Count a call that a cap ended."""
        self._capped.labels(cap).inc()

    def began(self, request: ObservedRequest) -> None:
        """Count a request in flight."""
        self._in_flight.inc()

    def ended(self, request: ObservedRequest) -> None:
        """Count a request by its code, and take its times; those of a reply are what it says."""
        self._in_flight.dec()
        self._count(request.method, request.code)
        timed = self._timed.get(request.method)
        if timed is None:
            timed = self._timed[request.method] = self._request_s.labels(request.method)
        timed.observe(request.total_s)
        if request.ranking is not None:
            version = request.version
            pair = self._answered.get(version)
            if pair is None:
                pair = (self._queue_s.labels(version), self._compute_s.labels(version))
                self._answered[version] = pair
            pair[0].observe(request.queue_s)
            pair[1].observe(request.ranking.compute_s)

    def batch(
        self, requests: Sequence[ObservedRequest], candidates: int, backend: str
    ) -> AbstractContextManager[Any]:
        """Take the size of a batch that is handed to the backend."""
        self._batch_queries.observe(len(requests))
        self._batch_candidates.observe(candidates)
        return nullcontext()

    def fell_back(self) -> None:
        """Count a batch that the fallback computes."""
        self._fallbacks.inc()

    def state(self, ready: bool, queued: int, name: str, shares: Mapping[str, float]) -> None:
        """Show what is served now, and no other version; see `Sink.state`."""
        self._ready.set(ready)
        self._queue_length.set(queued)
        now = {(name, version): share for version, share in shares.items()}
        for gone in self._shared - now.keys():
            self._share.labels(*gone).set(0.0)
        for labels, share in now.items():
            self._share.labels(*labels).set(share)
        self._shared |= now.keys()

    def follows(self, followed: bool) -> None:
        """Show whether the store is followed."""
        self._followed.set(followed)

    def consulted(self, live: LiveHistory, seconds: float) -> None:
        """Take what a look at what was recorded took."""
        looked_up = self._looked_up.get(live)
        if looked_up is None:
            looked_up = self._looked_up[live] = self._history_s.labels(live.name.lower())
        looked_up.observe(seconds)

    def histories(self, fault: str | None) -> None:
        """Show whether the store of histories answers."""
        self._histories.set(fault is None)

    def _count(self, method: str, code: str) -> None:
        counted = self._counted.get((method, code))
        if counted is None:
            counted = self._counted[method, code] = self._requests.labels(method, code)
        counted.inc()

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
