"""Failures as problem details (RFC 9457), with the status that a code of gRPC has over HTTP.

https://cloud.google.com/apis/design/errors has the statuses.
"""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import grpc

from anirank.errors import InvalidQuery, Overloaded, ServingError
from handlers.facade.protocols.http.kinds import dumped
from handlers.facade.status import code_of

PROBLEM = "application/problem+json"
STATUSES = {
    # Before the other 400, which is not what a status of its own means.
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
# Of HTTP alone, which gRPC has no code for, or has as a part of one.
_CODES = {status: code.name for code, status in STATUSES.items()} | {
    HTTPStatus.METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
    HTTPStatus.REQUEST_TIMEOUT: "DEADLINE_EXCEEDED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RESOURCE_EXHAUSTED",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "INVALID_ARGUMENT",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "RESOURCE_EXHAUSTED",
}


class Problem(NamedTuple):
    """A reply that says what went wrong.

    errors: everything that is wrong in a request, as pairs of a path and a message. headers: that
    go along. last: whether the connection is of no use any more. code: the name of the code that
    gRPC has for it, where its status stands for others too.
    """

    status: HTTPStatus
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    headers: tuple[tuple[str, str], ...] = ()
    last: bool = False
    code: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "code": self.code or _CODES[self.status],
        }
        if self.errors:
            found["errors"] = [{"path": path, "message": text} for path, text in self.errors]
        return found

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return dumped(self.document)


def problem_of(error: ServingError) -> Problem:
    """The problem that a failure of a request is."""
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, InvalidQuery):
        errors = [(fault.field, fault.reason) for fault in error.faults]
        first, *others = error.faults
        detail = f"{first.field}: {first.reason}"
        detail += f"; and {len(others)} more, which errors lists" if others else ""
        return Problem(STATUSES[code_of(error)], detail, errors)
    if isinstance(error, Overloaded):  # in whole seconds, of which none would be at once
        headers = (("retry-after", str(max(math.ceil(error.retry_after_s), 1))),)
    code = code_of(error)
    told = error.told or str(error)
    return Problem(STATUSES[code], told, headers=headers, code=code.name)
