"""Errors of serving as statuses of gRPC, with their details."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from anirank.errors import (
    BackendUnavailable,
    DeadlinePassed,
    Forbidden,
    HistoriesOff,
    InvalidQuery,
    Overloaded,
    ServingError,
)

# The server's side of a call. In quotes, as it is generic to type checkers alone.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# What the answer to one request can be instead of a reply.
FAILURES = (
    InvalidQuery,
    Overloaded,
    DeadlinePassed,
    BackendUnavailable,
    HistoriesOff,
    Forbidden,
)

_CODES: dict[type[ServingError], grpc.StatusCode] = {
    InvalidQuery: grpc.StatusCode.INVALID_ARGUMENT,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    BackendUnavailable: grpc.StatusCode.UNAVAILABLE,
    HistoriesOff: grpc.StatusCode.FAILED_PRECONDITION,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}


def code_of(error: ServingError) -> grpc.StatusCode:
    """The code that an error, one of `FAILURES`, leaves with."""
    return _CODES[type(error)]


def status_of(error: ServingError) -> status_pb2.Status:
    """The whole status of an error: its code, its message and its details."""
    status = status_pb2.Status(code=code_of(error).value[0], message=_message(error))
    detail = _detail(error)
    if detail is not None:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(context: Context, error: ServingError) -> NoReturn:
    """End a call with the status of an error; to be called outside of an `except` clause.

    It raises, and what it raises is no part of the failure. Trailing metadata set before stays.
    """
    status = rpc_status.to_status(status_of(error.settled()))
    metadata = (*context.trailing_metadata(), *status.trailing_metadata)
    await context.abort(status.code, status.details, metadata)
    raise AssertionError("abort raises")


def when_over(context: Context, do: Callable[[], None]) -> None:
    """Do something once a call is over: its status has left, or its caller has."""
    done: Any = lambda _: do()  # noqa: E731 - the stubs know no type for it
    context.add_done_callback(done)


def _message(error: ServingError) -> str:
    # Message and detail share the call's metadata, which has little room: the faults are in one.
    if isinstance(error, InvalidQuery) and len(error.faults) > 1:
        return f"{error.field}: {error.reason}; and more, which the details list"
    return error.told or str(error)


def _detail(error: ServingError) -> Any:
    if isinstance(error, InvalidQuery):
        violation = error_details_pb2.BadRequest.FieldViolation
        return error_details_pb2.BadRequest(
            field_violations=[
                violation(field=fault.field, description=fault.reason) for fault in error.faults
            ]
        )
    if isinstance(error, Overloaded):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        return error_details_pb2.RetryInfo(retry_delay=delay)
    return None
