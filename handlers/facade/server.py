"""The gRPC façade: a server of anime.ranking.v1.RankingService, health checks and reflection."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from handlers.engine.query import Limits
from handlers.facade import capacity
from handlers.facade.calls.admission import Admission
from handlers.facade.health import Health
from handlers.facade.methods import RankingService
from handlers.facade.protocols.inference.answering import Inference
from handlers.facade.protocols.inference.over_grpc import OverGrpc
from handlers.facade.shutdown import Shutdown, ShutdownRequested
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.versions.roster import Roster
from handlers.forms.messages import ReadApart
from handlers.histories.histories import Histories
from handlers.security.access import Security

if TYPE_CHECKING:
    from handlers.facade.protocols.http.listening import HttpServer
    from handlers.facade.protocols.http.site import Site

# For calls that are on their way: gRPC would end them as CANCELLED, which no client asks again for.
LAST_CALLS_S = 0.1
LAST_BATCH_S = 1.0  # that nobody waits for any more has to end in


async def serve(
    roster: Roster,
    address: str,
    *,
    limits: Limits | None = None,
    security: Security | None = None,
    observer: Observer | None = None,
    read_apart: ReadApart | None = None,
    histories: Histories | None = None,
    shutdown: Shutdown | None = None,
    grace_s: float = 10.0,
    shared: bool = False,
    started: Callable[[int], None] | None = None,
    http: str | None = None,
    http_started: Callable[[str], None] | None = None,
    site: "Site | None" = None,
) -> None:
    """Serve on `address` (HOST:PORT, port 0 for a free one) until `shutdown`, by default a signal.

    Calls `started` with the port once requests are answered. When asked to end: health says
    NOT_SERVING, no request is taken any more, those in flight have `grace_s` seconds to end; what
    has not ended by then, or is in flight when asked a second time, is cut off with UNAVAILABLE.
    http: HOST:PORT to answer HTTP on as well; `http_started` is called with its URL before
    `started`; site: files to show at /page/ there. Raises AddressUnavailable where an address
    cannot be listened on, AddressRefused where `security`, by default none, is not enough for it.
    Closes the roster and `histories`, what users have watched since. observer: observes every
    request. read_apart: reads what is long in one. shared: other processes listen on the addresses
    as well.
    """
    limits, security = limits or Limits(), security or Security()
    observer = observer or Observer()
    admission = Admission(capacity.concurrent_calls(limits), observer)
    server = grpc.aio.server(
        interceptors=[
            *security.interceptors(
                observer.unauthenticated
            ),  # first: who may not call has no place
            admission,
        ],
        options=[
            # Unless shared, an address in use is an error, not a share of its calls.
            ("grpc.so_reuseport", int(shared)),
            *capacity.options(limits, shared),
        ],
    )
    may_write = security.writers(address)
    service = RankingService(roster, limits, observer, read_apart, histories, may_write)
    server.add_generic_rpc_handlers((service.handler(),))
    checks = Health(observer, histories)
    inference = Inference(service, roster, lambda: checks.serving)
    server.add_generic_rpc_handlers((OverGrpc(inference).handler(),))
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    looking: asyncio.Task[None] | None = None
    try:
        with contextlib.nullcontext(shutdown) if shutdown is not None else Shutdown() as shutdown:
            looking = asyncio.create_task(histories.follow()) if histories is not None else None
            port = security.listen(server, address)
            web = _web(http, service, admission, observer, inference, security, shared, site)
            await checks.check(roster)
            await server.start()
            if web is not None:
                await web.start()
                if http_started is not None:
                    http_started(web.url)
            if started is not None:
                started(port)
            await checks.follow(roster, shutdown.requested)
            service.end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(shutdown.forced.wait(), LAST_CALLS_S)
            with contextlib.suppress(ShutdownRequested):
                await shutdown.unless_forced(_stopped(server, web, grace_s))
            await _stopped(server, web, None)
    finally:
        if looking is not None:
            looking.cancel()
        if histories is not None:
            await histories.close()
        await roster.close(LAST_BATCH_S)


async def _stopped(
    server: grpc.aio.Server, web: "HttpServer | None", grace_s: float | None
) -> None:
    """End both once what is in flight has ended; None: at once."""
    stops: list[Awaitable[None]] = [server.stop(grace_s)]
    if web is not None:
        stops.append(web.stop(grace_s))
    await asyncio.gather(*stops)


def _web(
    address: str | None,
    service: RankingService,
    admission: Admission,
    observer: Observer,
    inference: Inference,
    security: Security,
    shared: bool,
    site: "Site | None",
) -> "HttpServer | None":
    """What answers HTTP at an address, where there is one."""
    if address is None:
        return None
    # Here, as nobody else needs what it imports to be installed.
    from handlers.facade.protocols.http.app import application
    from handlers.facade.protocols.http.listening import HttpServer
    from handlers.forms.mal_export import MOST_BYTES

    app = application(
        service,
        service.limits,
        admission,
        observer,
        inference,
        security.tokens,
        security.writers(address),
        site,
    )
    return HttpServer(app, security, address, 2 * MOST_BYTES, shared)
