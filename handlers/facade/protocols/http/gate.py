"""What stands before every request: its token, its place among others, and its failures."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import grpc
from starlette.exceptions import HTTPException

from anirank.errors import DeadlinePassed, ServingError
from handlers.facade import capacity
from handlers.facade.calls.admission import Admission
from handlers.facade.calls.places import Call, no_place
from handlers.facade.protocols.http.caller import peer_of
from handlers.facade.protocols.http.connections import CONNECTION
from handlers.facade.protocols.http.exchange import Exchange, Refused
from handlers.facade.protocols.http.problems import STATUSES, Problem, problem_of
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.security.tokens import Tokens

EXCHANGE = "anirank.exchange"  # in a request's ASGI scope
# Whether the server is there is no secret, and probes carry no token; nor is what it can be asked,
# or the page, which a browser fetches before it can be given one.
INFERENCE = "/v2"  # under which the Open Inference Protocol stands
PAGE = "/page/"  # under which the page of `--page` stands
HEALTH = {"/healthz", "/readyz", f"{INFERENCE}/health/live", f"{INFERENCE}/health/ready"}
OPEN_TO_ALL = HEALTH | {"/openapi.json", "/docs", "/docs/page.js", "/docs/page.css"}
SECURITY_HEADERS = (("x-content-type-options", "nosniff"), ("cache-control", "no-store"))
_CODES = {status: code for code, status in STATUSES.items()}
_UNAUTHENTICATED = Problem(
    HTTPStatus.UNAUTHORIZED,
    "the headers should hold authorization: Bearer TOKEN",
    headers=(("www-authenticate", "Bearer"),),
)
_ENDS = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the server ends; ask again", last=True)
_FAILED = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says why")

log = logging.getLogger(__name__)
App = Callable[[Any, Any, Any], Awaitable[None]]


class Endpoint:
    """What answers at a path, as an ASGI application."""

    def __init__(self, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await self._answer(scope[EXCHANGE])


class Gate:
    """An ASGI application before another, of which it makes every failure a problem."""

    def __init__(
        self,
        app: App,
        methods: Mapping[str, str],
        admission: Admission,
        observer: Observer,
        tokens: Tokens | None,
    ) -> None:
        """Let through to `app`; methods: by path, the method that is asked there."""
        self._app, self._methods = app, methods
        self._admission, self._observer, self._tokens = admission, observer, tokens

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        assert scope["type"] == "http"
        path, connection = scope["path"], scope[CONNECTION]
        healthy = path in HEALTH
        places = self._admission.places_of_checks if healthy else self._admission.places
        call = Call(peer_of(scope["client"]), asyncio.current_task())
        exchange = scope[EXCHANGE] = Exchange(scope, receive, send, call, places)
        method = self._methods.get(path, "")
        if path.startswith(f"{INFERENCE}/") and path.endswith("/infer"):
            method = "ModelInfer"
        connection.answering = call.task
        try:
            if not self._may_call(scope):
                self._observer.unauthenticated(f"/{SERVICE}/{method}")
                raise Refused(_UNAUTHENTICATED)
            if method:
                self._observer.called(method)
            call.cap = places.take(call)
            if call.cap is not None:
                raise self._turned_away(method, call.cap, no_place(call.cap))
            scope["app"] = self._app  # so that a path or a way to ask that is not there raises
            await self._app(scope, receive, send)
        except HTTPException as error:
            await self._end(exchange, _elsewhere(scope["method"], error))
        except Refused as refused:
            if method and refused.problem.status in _CODES:
                self._observer.refused(method, _CODES[refused.problem.status])
            await self._end(exchange, refused.problem)
        except asyncio.CancelledError:
            await self._cancelled(exchange, method)
        except Exception:
            log.exception("%s failed", path if method else "a request over HTTP")
            if method:
                self._observer.refused(method, grpc.StatusCode.UNKNOWN)
            await self._end(exchange, _FAILED)
        finally:
            connection.answering = None
            places.give_back(call)

    def _may_call(self, scope: Any) -> bool:
        path = scope["path"]
        if self._tokens is None or path in OPEN_TO_ALL or f"{path}/".startswith(PAGE):
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and self._tokens.accepts_header(given[0].decode("latin-1"))

    async def _cancelled(self, exchange: Exchange, method: str) -> None:
        """End a request that was ended: by its caller, its silence, a cap, or the server's end."""
        task, call = asyncio.current_task(), exchange.call
        assert task is not None
        task.uncancel()
        if exchange.connection.transport.is_closing():
            return  # nobody is there any more
        if call.cap is not None:
            refused = self._turned_away(method, call.cap, no_place(call.cap))
            await self._end(exchange, refused.problem)
        elif call.silent:
            seconds = f"{capacity.FIRST_MESSAGE_S:g} s"
            error = DeadlinePassed(f"no message came within {seconds}")
            self._observer.turned_away(f"/{SERVICE}/{method}", "silence", error)
            detail = f"the body has not come within {seconds}"
            await self._end(exchange, Problem(HTTPStatus.REQUEST_TIMEOUT, detail, last=True))
        else:
            await self._end(exchange, _ENDS)

    def _turned_away(self, method: str, cap: str, error: ServingError) -> Refused:
        self._observer.turned_away(f"/{SERVICE}/{method}", cap, error)
        return Refused(problem_of(error)._replace(last=True))

    async def _end(self, exchange: Exchange, problem: Problem) -> None:
        if exchange.started:  # and cannot say more
            exchange.connection.transport.abort()
            return
        try:
            await exchange.problem(problem)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()


def _elsewhere(verb: str, error: HTTPException) -> Problem:
    """What is asked where nothing is, or in a way that it is not asked."""
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    detail = "nothing is here; /openapi.json says what is where"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{verb} is not asked here; {headers.get('Allow', '')} is"
    return Problem(status, detail, headers=tuple(headers.items()))
