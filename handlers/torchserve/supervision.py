"""A TorchServe of one's own kept alive, and with keys that are good."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from anirank.errors import BackendUnavailable, ServingError
from handlers.torchserve.server import TorchServe

CHECK_S = 0.5  # between two checks of its process
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0  # before it is started again; each is twice the last
ASK_S = 10.0  # between two checks whether it answers
# What answers nothing for so long hangs: longer than TorchServe needs to see that a worker does
# (`responseTimeout` of the .mar, 60 s) and to start another.
HUNG_S = 120.0
# Keys are renewed when they have so many seconds left of the hour that TorchServe gives them:
# early enough for a few attempts.
RENEW_S = 20 * 60.0
RENEWAL_S = 30.0  # between two checks of how long they have left

log = logging.getLogger(__name__)


async def start(
    archive: Path,
    trust: Sequence[Path] = (),
    *,
    rest_port: int = 0,
    grpc_port: int = 0,
    batching: bool = True,
) -> TorchServe:
    """A TorchServe that serves a .mar, started in a thread; see `TorchServe` for the arguments.

    Raises the same. Cancelled, it leaves nothing running.
    """
    abandoned = threading.Event()
    starting = asyncio.ensure_future(
        asyncio.to_thread(
            TorchServe,
            archive,
            rest_port=rest_port,
            grpc_port=grpc_port,
            batching=batching,
            trust=trust,
            abandoned=abandoned,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        abandoned.set()
        await asyncio.wait((starting,))
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().stop)
        raise


async def keep(server: TorchServe) -> None:
    """Start a TorchServe again whenever it ends or hangs, and renew its keys, until `stop`.

    One that ends again and again is started less and less often; each second that it runs takes one
    off the pause.
    """
    loop = asyncio.get_running_loop()
    pause_s, checks = FIRST_PAUSE_S, itertools.cycle(range(int(RENEWAL_S / CHECK_S)))
    asked_at = answered_at = loop.time()
    while not server.stopped:
        if server.runs() and loop.time() - answered_at < HUNG_S:
            if next(checks) == 0:
                await asyncio.to_thread(renew, server)
            if loop.time() - asked_at >= ASK_S:
                asked_at = loop.time()
                if await asyncio.to_thread(server.answers):
                    answered_at = loop.time()
            await asyncio.sleep(CHECK_S)
            pause_s = max(pause_s - CHECK_S, FIRST_PAUSE_S)
        else:
            fault = "hangs" if server.runs() else "has ended"
            log.error("%s: TorchServe %s; it is started again", server.name, fault)
            try:
                await asyncio.to_thread(server.restart)
            except (ServingError, OSError) as error:
                log.error("%s; tried again in %.0f s", error, pause_s)
            else:
                log.warning("%s: TorchServe runs again", server.name)
            if server.stopped:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
            answered_at = loop.time()


def renew(server: TorchServe) -> None:
    """Have a TorchServe write new keys in place of those that end soon."""
    for kind in ("inference", "management"):
        try:
            if server.keys.seconds_left(kind) < RENEW_S:
                server.keys.renew(kind)
                log.info("%s: TorchServe has a new %s key", server.name, kind)
        except BackendUnavailable as error:
            log.error("the %s key could not be renewed: %s", kind, error)
