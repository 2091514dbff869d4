"""The ASGI application: what stands at which path."""

from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from starlette.routing import BaseRoute, Route, Router

from handlers.engine.query import Limits
from handlers.facade.calls.admission import Admission
from handlers.facade.calls.recording import MayWrite
from handlers.facade.methods import RankingService
from handlers.facade.protocols.http import openapi
from handlers.facade.protocols.http.exchange import Exchange, Headers, Refused
from handlers.facade.protocols.http.gate import SECURITY_HEADERS, Endpoint, Gate
from handlers.facade.protocols.http.inference import OverHttp
from handlers.facade.protocols.http.kinds import dumped
from handlers.facade.protocols.http.methods import ASKED, Answering, Method
from handlers.facade.protocols.http.problems import Problem
from handlers.facade.protocols.http.site import Site
from handlers.facade.protocols.http.streaming import Streaming
from handlers.facade.protocols.http.upload import Upload
from handlers.facade.protocols.inference.answering import Inference
from handlers.facade.telemetry.observer import Observer
from handlers.forms.json.body import most_bytes
from handlers.security.tokens import Tokens

# The page has its script and its style from beside it, and asks this server alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {
    "/docs": ("page.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
}


def methods_of(limits: Limits) -> tuple[Method, ...]:
    """All methods, each a path of its own."""
    return (*ASKED, Streaming(limits.streamed).method(), Upload().method())


def application(
    service: RankingService,
    limits: Limits,
    admission: Admission,
    observer: Observer,
    inference: Inference,
    tokens: Tokens | None,
    may_write: MayWrite,
    site: Site | None = None,
) -> Gate:
    """What answers over HTTP.

    inference: the Open Inference Protocol; may_write: histories; site: the files at /page/.
    """
    methods = methods_of(limits)
    answering = Answering(service, most_bytes(limits), may_write)
    routes: list[BaseRoute] = [
        Route(each.path, answering.endpoint(each), methods=[each.verb]) for each in methods
    ]
    routes += [
        Route("/healthz", _healthy(lambda: True)),
        Route("/readyz", _healthy(inference.ready)),
    ]
    routes += [Route(path, _file(*file), methods=["GET"]) for path, file in _PAGE.items()]
    document = dumped(openapi.document(methods, limits))
    routes.append(Route("/openapi.json", _static(document, "application/json"), methods=["GET"]))
    routes += OverHttp(inference, answering.most).routes()
    routes += site.routes() if site is not None else []
    paths = {each.path: each.name for each in methods}
    return Gate(Router(routes, redirect_slashes=False), paths, admission, observer, tokens)


def _healthy(well: Callable[[], bool]) -> Endpoint:
    async def answer(exchange: Exchange) -> None:
        await exchange.without_body()
        if not well():
            raise Refused(Problem(HTTPStatus.SERVICE_UNAVAILABLE, "requests are not answered now"))
        await exchange.reply(b'{"status":"ok"}', headers=SECURITY_HEADERS)

    return Endpoint(answer)


def _static(content: bytes, kind: str, headers: Headers = ()) -> Endpoint:
    async def answer(exchange: Exchange) -> None:
        await exchange.without_body()
        await exchange.reply(content, kind, [*SECURITY_HEADERS, *headers])

    return Endpoint(answer)


def _file(name: str, kind: str) -> Endpoint:
    return _static(_read(name), kind, [("content-security-policy", _POLICY)])


@cache
def _read(name: str) -> bytes:
    return files("handlers.facade.protocols.http").joinpath("page", name).read_bytes()
