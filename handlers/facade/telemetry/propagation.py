"""The trace that a call to a backend belongs to, handed on without a library of tracing."""

from contextvars import ContextVar

# The headers of W3C Trace Context for the batch that is at its backend in this task, as metadata of
# gRPC; none where nothing is traced.
TRACE_HEADERS: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("trace_headers", default=())
