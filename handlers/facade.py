"""The gRPC façade: a server of anime.ranking.v1.RankingService, health checks and reflection."""

import asyncio
import signal
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from handlers.errors import AddressUnavailable
from handlers.health import Health
from handlers.query import Limits
from handlers.service import SERVICE, RankingService
from handlers.versions import Roster

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(
    roster: Roster,
    address: str,
    limits: Limits | None = None,
    started: Callable[[int], None] | None = None,
    grace_s: float = 10.0,
) -> None:
    """Serve on `address` (HOST:PORT, port 0 for a free one) until SIGTERM or SIGINT.

    Calls `started` with the port once requests are answered. On a signal: health says NOT_SERVING,
    no request is taken any more, those in flight have `grace_s` seconds to end. Raises
    AddressUnavailable where `address` cannot be listened on. Closes the roster.
    """
    limits = limits or Limits()
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # an address in use is an error, not a share of its calls
            ("grpc.max_receive_message_length", limits.message_bytes),
        ]
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
        port = _listen(server, address)
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


def _listen(server: grpc.aio.Server, address: str) -> int:
    try:
        port: int = server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressUnavailable(f"{address}: in use, or not an address of this machine") from error
    return port
