"""What is known, in the task of a batch, of those whom the batch is for."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from handlers.facade.telemetry.request import ObservedRequest, Sink

# The headers of W3C Trace Context for the batch that is at its backend in this task, as metadata of
# gRPC; none where nothing is traced.
TRACE_HEADERS: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("trace_headers", default=())

# What hears of the batch of this task.
_SINK: ContextVar[Sink | None] = ContextVar("sink", default=None)


def at_backend(
    requests: Sequence[ObservedRequest], candidates: int, backend: str
) -> AbstractContextManager[Any]:
    """Observe a batch of requests, of one façade, at its backend, to the end of a `with`.

    candidates: those of all its queries. backend: its name.
    """
    if not requests:
        return nullcontext()
    sink = requests[0].sink
    _SINK.set(sink)  # in the task of this batch alone
    return sink.batch(requests, candidates, backend)


def fell_back() -> None:
    """Count the batch of this task as one that another backend than its own computes."""
    sink = _SINK.get()
    if sink is not None:
        sink.fell_back()
