"""The gRPC façade: a server of anime.ranking.v1.RankingService, health checks and reflection."""

import asyncio
import contextlib
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from handlers.engine.query import Limits
from handlers.facade import capacity
from handlers.facade.health import Health
from handlers.facade.methods import RankingService
from handlers.facade.shutdown import Ended, Ending
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.versions.roster import Roster
from handlers.security.access import Security

# For calls that are on their way: gRPC would end them as CANCELLED, which no client asks again for.
LAST_CALLS_S = 0.1
LAST_BATCH_S = 1.0  # that nobody waits for any more has to end in


async def serve(
    roster: Roster,
    address: str,
    limits: Limits | None = None,
    started: Callable[[int], None] | None = None,
    grace_s: float = 10.0,
    security: Security | None = None,
    ending: Ending | None = None,
    observer: Observer | None = None,
    shared: bool = False,
) -> None:
    """Serve on `address` (HOST:PORT, port 0 for a free one) until `ending`, by default a signal.

    Calls `started` with the port once requests are answered. When told to end: health says
    NOT_SERVING, no request is taken any more, those in flight have `grace_s` seconds to end; what
    has not ended by then, or is in flight when told so a second time, is cut off with UNAVAILABLE.
    Raises AddressUnavailable where `address` cannot be listened on, AddressRefused where
    `security`, by default none, is not enough for it. Closes the roster. observer: sees
    every request. shared: other processes listen on the address as well.
    """
    limits, security = limits or Limits(), security or Security()
    observer = observer or Observer()
    server = grpc.aio.server(
        interceptors=security.interceptors(observer.unauthenticated),
        options=[
            # Unless shared, an address in use is an error, not a share of its calls.
            ("grpc.so_reuseport", int(shared)),
            *capacity.options(limits, shared),
        ],
        maximum_concurrent_rpcs=capacity.calls(limits),
    )
    service = RankingService(roster, limits, observer)
    server.add_generic_rpc_handlers((service.handler(),))
    watched = Health(observer)
    health_pb2_grpc.add_HealthServicer_to_server(watched, server)
    reflection.enable_server_reflection(
        (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    try:
        with contextlib.nullcontext(ending) if ending is not None else Ending() as ending:
            port = security.listen(server, address)
            await watched.look(roster)
            await server.start()
            if started is not None:
                started(port)
            await watched.follow(roster, ending.told)
            service.end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.at_once.wait(), LAST_CALLS_S)
            await _stop(server, grace_s, ending)
    finally:
        await roster.close(LAST_BATCH_S)


async def _stop(server: grpc.aio.Server, grace_s: float, ending: Ending) -> None:
    with contextlib.suppress(Ended):
        await ending.unless_at_once(server.stop(grace_s))
    await server.stop(None)
