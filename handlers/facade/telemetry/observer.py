"""What observes every request, and hands it on to the log, the metrics and the traces."""

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import grpc

from anirank.contract import ranking_pb2 as pb
from anirank.errors import ServingError
from handlers.engine.query import LiveHistory
from handlers.facade.status import code_of
from handlers.facade.telemetry.request import Caller, ObservedRequest, Sink
from handlers.facade.telemetry.request_log import RequestLog

_SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"]
_METHODS = {method.name for method in _SERVICE.methods}
SERVICE = _SERVICE.full_name
REQUEST_ID = "x-request-id"  # in the metadata of a call and in the trailing metadata of its end
LONGEST_ID = 128  # characters
# Of the ids that are made here: chance once, and then a count.
_PROCESS, _CALLS = secrets.token_hex(8), itertools.count()


class Observer(Sink):
    """Observes the requests of one façade from their message to their reply."""

    def __init__(self, *sinks: Sink) -> None:
        """Hand observations to `sinks`, and to the log in any case."""
        self._sinks = (*sinks, RequestLog())

    def call_id(self, context: Caller) -> str:
        """The id of a call: its caller's if that is one, else a new one. It leaves with the call.

        An id is 1 to 128 printable ASCII characters in the metadata `x-request-id`.
        """
        name = ""
        for key, value in context.invocation_metadata() or ():
            if key == REQUEST_ID:
                name = str(value)
        if not (0 < len(name) <= LONGEST_ID and name.isascii() and name.isprintable()):
            name = f"{_PROCESS}{next(_CALLS):016x}"
        context.set_trailing_metadata(((REQUEST_ID, name),))
        return name

    def request(self, method: str, context: Caller, name: str | None = None) -> ObservedRequest:
        """Observe a request from here to the end of a `with`.

        name: its id, where it is not the call's.
        """
        return ObservedRequest(self, method, name or self.call_id(context), context)

    def unauthenticated(self, path: str) -> None:
        """Take a call to /SERVICE/METHOD that shows no token that is known."""
        method = _method(path)
        if method is not None:
            self.called(method)
            self.refused(method, grpc.StatusCode.UNAUTHENTICATED)

    def turned_away(self, path: str, cap: str, error: ServingError) -> None:
        """Take a call to /SERVICE/METHOD that a cap ended before it began."""
        self.capped(cap, str(error))
        method = _method(path)
        if method is not None:
            self.refused(method, code_of(error))

    def capped(self, cap: str, message: str) -> None:
        """Take a call that was ended because of a cap."""
        for sink in self._sinks:
            sink.capped(cap, message)

    def called(self, method: str) -> None:
        """Take a call that has arrived, of which no message is read yet."""
        for sink in self._sinks:
            sink.called(method)

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Take a request that was refused before any message of it was read."""
        for sink in self._sinks:
            sink.refused(method, code)

    def began(self, request: ObservedRequest) -> None:
        """Take a request whose message is there."""
        for sink in self._sinks:
            sink.began(request)

    def ended(self, request: ObservedRequest) -> None:
        """Take a request that has ended."""
        for sink in self._sinks:
            sink.ended(request)

    def batch(
        self, requests: Sequence[ObservedRequest], candidates: int, backend: str
    ) -> AbstractContextManager[Any]:
        """Take a batch at its backend, from here to the end of a `with`."""
        return self._batch(requests, candidates, backend)

    def fell_back(self) -> None:
        """Take a batch that another backend than its own computes."""
        for sink in self._sinks:
            sink.fell_back()

    def state(self, ready: bool, queued: int, name: str, shares: Mapping[str, float]) -> None:
        """Take what is served now; see `Sink.state`."""
        for sink in self._sinks:
            sink.state(ready, queued, name, shares)

    def follows(self, followed: bool) -> None:
        """Take whether the store is followed; see `Sink.follows`."""
        for sink in self._sinks:
            sink.follows(followed)

    def consulted(self, live: LiveHistory, seconds: float) -> None:
        """Take a look at what was recorded of a user; see `Sink.consulted`."""
        for sink in self._sinks:
            sink.consulted(live, seconds)

    def histories(self, fault: str | None) -> None:
        """Take whether the store of histories answered; see `Sink.histories`."""
        for sink in self._sinks:
            sink.histories(fault)

    @contextmanager
    def _batch(
        self, requests: Sequence[ObservedRequest], candidates: int, backend: str
    ) -> Iterator[None]:
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink.batch(requests, candidates, backend))
            yield


def _method(path: str) -> str | None:
    """The method of our service in /SERVICE/METHOD, and no other: callers could make up labels."""
    service, _, method = path.removeprefix("/").partition("/")
    return method if service == SERVICE and method in _METHODS else None
