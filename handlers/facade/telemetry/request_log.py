"""Requests in the log: a line for each at debug, and faults that many meet at once."""

import logging

from anirank.errors import BackendUnavailable, InvalidQuery, Overloaded
from handlers.engine.query import Familiarity, Ranking
from handlers.facade.telemetry.logs import Faults
from handlers.facade.telemetry.request import ObservedRequest, Sink

_OVERLOAD = "overload"
_HISTORIES = "store of histories"

log = logging.getLogger("handlers.requests")


class RequestLog(Sink):
    """Writes down how requests end."""

    def __init__(self) -> None:
        self._faults = Faults()
        self._caps: set[str] = set()

    def capped(self, cap: str, message: str) -> None:
        """Write that a cap is met, if it is time to."""
        self._caps.add(cap)
        self._faults.record(f"cap on {cap}", message, logging.WARNING)

    def ended(self, request: ObservedRequest) -> None:
        """Write what it met, if it is time to, and a line for the request where that is wanted."""
        self._note_faults(request)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", request.method, request.code, extra=_fields(request))

    def histories(self, fault: str | None) -> None:
        """Write why the store of histories does not answer, if it is time to, and that it does."""
        if fault is not None:
            self._faults.record(_HISTORIES, fault)
        elif self._faults.active:
            self._faults.clear(_HISTORIES)

    def _note_faults(self, request: ObservedRequest) -> None:
        backend = f"backend of version {request.version}"
        if isinstance(request.failure, BackendUnavailable) and request.version:
            self._faults.record(backend, str(request.failure))
        elif isinstance(request.failure, Overloaded):
            self._faults.record(_OVERLOAD, str(request.failure), logging.WARNING)
        elif request.ranking is not None and self._faults.active:
            self._faults.clear(backend)
            self._faults.clear(_OVERLOAD)
            for cap in self._caps:
                self._faults.clear(f"cap on {cap}")


def _fields(request: ObservedRequest) -> dict[str, object]:
    """What one line of the log says; who the user is it does not say, only whether known."""
    fields: dict[str, object] = {
        "request_id": request.id,
        "method": request.method,
        "code": request.code,
        "model_version": request.version,
        "total_ms": _ms(request.total_s),
        "peer": request.context.peer(),
    }
    if request.query is not None:
        ids = request.query.candidate_ids
        fields["candidates"] = None if ids is None else len(ids)
        fields["top_k"] = request.query.top_k
    if request.ranking is not None:
        if isinstance(request.ranking, Ranking):
            fields["user"] = Familiarity(request.ranking.familiarity).name.lower()
            if request.ranking.live_history:
                fields["live_history"] = request.ranking.live_history.name.lower()
        fields["queue_ms"] = _ms(request.queue_s)
        fields["compute_ms"] = _ms(request.ranking.compute_s)
    if isinstance(request.failure, InvalidQuery):
        fields["field"] = request.failure.field
    if request.trace is not None:
        fields["trace_id"] = request.trace.id
    return fields


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
