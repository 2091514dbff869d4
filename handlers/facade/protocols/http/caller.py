"""Who asks over HTTP, in the terms of a gRPC call."""

import re
import time
from collections.abc import Iterable
from typing import Any

from anirank.errors import InvalidQuery, quoted

TIMEOUT = "grpc-timeout"
# As gRPC over HTTP/2 has it on the wire, and gateways take it: up to eight digits and a unit.
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class HttpCaller:
    """One request's caller; see `handlers.facade.telemetry.request.Caller`.

    timeout_s: that it gives, None where it gives none. trailers: what its answer is to carry.
    """

    __slots__ = ("_deadline", "_headers", "_peer", "timeout_s", "trailers")

    def __init__(self, scope: Any) -> None:
        """Know it by an ASGI scope; raises InvalidQuery where its timeout is none."""
        self._headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        self._peer = peer_of(scope["client"])
        self.trailers: list[tuple[str, str]] = []
        self.timeout_s = self._timeout_s()
        self._deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s

    def peer(self) -> str:
        """Its connection."""
        return self._peer

    def time_remaining(self) -> float | None:
        """Seconds until it waits no longer."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Its headers."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str]]) -> None:
        """Have headers sent along with the answer."""
        self.trailers.extend(metadata)

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, None where it is not there, or there twice."""
        found = [value for key, value in self._headers if key == name]
        return found[0] if len(found) == 1 else None

    def _timeout_s(self) -> float | None:
        found = [value for key, value in self._headers if key == TIMEOUT.encode()]
        if not found:
            return None
        match = _TIMEOUT.fullmatch(found[-1])
        if match is None:
            shown = quoted(found[-1].decode("latin-1"))
            raise InvalidQuery(TIMEOUT, f"{shown} should be digits and a unit, as in 500m or 2S")
        return int(match[1]) * _SECONDS[match[2]]


def peer_of(client: tuple[str, int] | None) -> str:
    """A connection as gRPC says it: `ipv4:192.0.2.1:1234`."""
    if client is None:
        return "unix:"
    host, port = client
    if ":" not in host:
        return f"ipv4:{host}:{port}"
    return f"ipv6:%5B{host}%5D:{port}"
