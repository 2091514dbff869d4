"""A TorchServe kept running until a signal: what `anirank torchserve` does."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from handlers.facade.shutdown import Shutdown, ShutdownRequested
from handlers.facade.telemetry import logs
from handlers.torchserve.server import TorchServe
from handlers.torchserve.supervision import keep, start


def run(
    archive: Path,
    announce: Callable[[str], None],
    *,
    rest_port: int,
    grpc_port: int,
    trust: Sequence[Path],
) -> None:
    """Run one until SIGTERM or SIGINT; `announce` is given the lines that say where.

    See `TorchServe` for the other arguments, and for what is raised where it does not start.
    """
    logs.start()
    starting = start(archive, trust, rest_port=rest_port, grpc_port=grpc_port)
    with contextlib.suppress(ShutdownRequested):
        asyncio.run(_run(starting, announce))


async def _run(starting: Coroutine[Any, Any, TorchServe], announce: Callable[[str], None]) -> None:
    with Shutdown() as shutdown:
        server = await shutdown.unless_requested(starting)
        try:
            announce(
                f"REST  {server.rest_address}/predictions/{server.name}\n"
                f"gRPC  {server.grpc_address}\n"
                f"keys  {server.key_file}"
            )
            await shutdown.unless_requested(keep(server))
        finally:
            await asyncio.to_thread(server.stop)
