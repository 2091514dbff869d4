"""The errors that the statuses of calls mean."""

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from anirank.contract import ranking_pb2 as pb
from anirank.errors import (
    BackendUnavailable,
    DeadlinePassed,
    Fault,
    Forbidden,
    HistoriesOff,
    InvalidQuery,
    Overloaded,
    ServingError,
    Unauthenticated,
)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_of_call(error: Any) -> ServingError:
    """The error of the same meaning as a call's status."""
    status = rpc_status.from_call(error)
    if status is None:
        code = error.code().value[0]
        status = status_pb2.Status(code=code, message=error.details() or "")
    return error_of_status(status)


def error_of_status(status: status_pb2.Status | pb.Status) -> ServingError:
    """The error of the same meaning as a status."""
    for detail in status.details:
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad) and bad.field_violations:
            first, *others = bad.field_violations
            faults = [Fault(each.field, each.description) for each in others]
            return InvalidQuery(first.field, first.description, faults)
        if detail.Unpack(retry):
            return Overloaded(status.message, retry.retry_delay.ToTimedelta().total_seconds())
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlinePassed(status.message)
    # A call that the caller did not cancel met a server on its end.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return BackendUnavailable(status.message)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(status.message)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return Forbidden(status.message)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return HistoriesOff(status.message)
    return ServingError(f"{code.name}: {status.message}")
