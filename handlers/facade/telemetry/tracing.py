"""Traces of requests and batches for OpenTelemetry; importing this needs the extra `tracing`."""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from handlers.facade.telemetry.batch import TRACE_HEADERS
from handlers.facade.telemetry.observer import SERVICE
from handlers.facade.telemetry.request import ObservedRequest, Sink

CLOSE_S = 3.0  # for the last spans, of the time that a process has to end in

# The codes that are faults of the server; the others are the caller's, or the deadline's to judge
# (OpenTelemetry semantic conventions, gRPC, "status" of server spans).
_SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE"}


class RequestTrace:
    """The span of one request, and what makes a time of the monotonic clock one of the calendar."""

    __slots__ = ("_offset_ns", "span")

    def __init__(self, span: Span, offset_ns: int) -> None:
        self.span = span
        self._offset_ns = offset_ns

    @property
    def id(self) -> str:
        """The trace's id, as W3C Trace Context writes it."""
        return f"{self.span.get_span_context().trace_id:032x}"

    def at(self, seconds: float) -> int:
        """Nanoseconds since 1970 at `seconds` of the monotonic clock."""
        return self._offset_ns + int(seconds * 1e9)


class Tracing(Sink):
    """Makes the spans of one façade and sends them off, in a thread of its own.

    A request is a span of the trace its caller names in `traceparent`, with one for its wait in the
    queue and one for its computing, of the times the reply says. A batch is a span as well: a child
    of its first request's, linked to all the others' and they to it, and what TorchServe is told.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        """Send spans by OTLP over gRPC, as the variables OTEL_… say, unless given a processor."""
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("anirank")
        self._propagator = TraceContextTextMapPropagator()

    def began(self, request: ObservedRequest) -> None:
        """Begin the span of a request, of which it is the trace from here on."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            f"{SERVICE}/{request.method}",
            self._propagator.extract(_text(request.context.invocation_metadata()), Context()),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": request.method},
            start_time=offset_ns + int(request.started * 1e9),
        )
        request.trace = RequestTrace(span, offset_ns)

    def ended(self, request: ObservedRequest) -> None:
        """End the span of a request."""
        trace = request.trace
        if not isinstance(trace, RequestTrace) or not trace.span.is_recording():
            return
        attributes: dict[str, Any] = {
            "rpc.grpc.status_code": grpc.StatusCode[request.code].value[0],
            "anirank.request_id": request.id,
            "anirank.model_version": request.version,
        }
        if request.query is not None and request.query.candidate_ids is not None:
            attributes["anirank.candidates"] = len(request.query.candidate_ids)
        trace.span.set_attributes(attributes)
        if request.ranking is not None:
            computing = request.queued + request.queue_s
            self._part(trace, "queue", request.queued, computing)
            self._part(trace, "compute", computing, computing + request.ranking.compute_s)
        if request.code in _SERVER_FAULTS:
            trace.span.set_status(Status(StatusCode.ERROR, str(request.failure or "")))
        trace.span.end(trace.at(request.started + request.total_s))

    @contextmanager
    def batch(
        self, requests: Sequence[ObservedRequest], candidates: int, backend: str
    ) -> Iterator[None]:
        """Observe a batch at its backend; what it is told of the trace is in `TRACE_HEADERS`."""
        traces = [request.trace for request in requests]
        spans = [trace.span for trace in traces if isinstance(trace, RequestTrace)]
        recording = [span for span in spans if span.is_recording()]
        if not recording:
            yield
            return
        first, *others = recording
        batch = self._tracer.start_span(
            "batch",
            set_span_in_context(first, Context()),
            SpanKind.CLIENT if backend == "torchserve" else SpanKind.INTERNAL,
            {
                "anirank.backend": backend,
                "anirank.queries": len(requests),
                "anirank.candidates": candidates,
            },
            [Link(span.get_span_context()) for span in others],
        )
        for span in others:
            span.add_link(batch.get_span_context())
        headers: dict[str, str] = {}
        self._propagator.inject(headers, set_span_in_context(batch, Context()))
        token = TRACE_HEADERS.set(tuple(headers.items()))
        try:
            yield
        except BaseException as error:
            batch.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            TRACE_HEADERS.reset(token)
            batch.end()

    def close(self) -> None:
        """Send off what is left; blocks for `CLOSE_S` where nobody takes it."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _part(self, trace: RequestTrace, name: str, start: float, end: float) -> None:
        parent = set_span_in_context(trace.span, Context())
        span = self._tracer.start_span(name, parent, start_time=trace.at(start))
        span.end(trace.at(end))


def _text(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """The metadata of a call that is text."""
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _resource() -> Resource:
    named = "OTEL_SERVICE_NAME" in os.environ
    named = named or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": "anirank"})
