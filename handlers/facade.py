"""The gRPC façade: a server of anime.ranking.v1.RankingService, health checks and reflection."""

import asyncio
import signal
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from handlers import bounds
from handlers.health import Health
from handlers.query import Limits
from handlers.security import Security
from handlers.service import SERVICE, RankingService
from handlers.versions import Roster

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(
    roster: Roster,
    address: str,
    limits: Limits | None = None,
    started: Callable[[int], None] | None = None,
    grace_s: float = 10.0,
    security: Security | None = None,
) -> None:
    """Serve on `address` (HOST:PORT, port 0 for a free one) until SIGTERM or SIGINT.

    Calls `started` with the port once requests are answered. On a signal: health says NOT_SERVING,
    no request is taken any more, those in flight have `grace_s` seconds to end. Raises
    AddressUnavailable where `address` cannot be listened on, AddressRefused where `security`, by
    default none, is not enough for it. Closes the roster.
    """
    limits, security = limits or Limits(), security or Security()
    server = grpc.aio.server(
        interceptors=security.interceptors(),
        options=[
            ("grpc.so_reuseport", 0),  # an address in use is an error, not a share of its calls
            *bounds.options(limits),
        ],
        maximum_concurrent_rpcs=bounds.calls(limits),
    )
    server.add_generic_rpc_handlers((RankingService(roster).handler(),))
    watched = Health()
    health_pb2_grpc.add_HealthServicer_to_server(watched, server)
    reflection.enable_server_reflection(
        (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:  # from here on: a signal may come before the first request
        loop.add_signal_handler(number, signalled.set)
    try:
        port = security.listen(server, address)
        await watched.look(roster)
        await server.start()
        if started is not None:
            started(port)
        await watched.follow(roster, signalled)
        await server.stop(grace_s)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        await roster.close()
