"""From settings to a façade that answers: what `anirank serve` does."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable

from anirank.client.addresses import opened
from anirank.errors import ServingError
from handlers.facade import server
from handlers.facade.settings import Settings
from handlers.facade.shutdown import Ended, Ending
from handlers.facade.telemetry.setup import observation
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import LOOK_S, Watcher
from handlers.facade.versions.roster import Roster, ServedVersion
from handlers.security.access import protected

log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    say: Callable[[str], None],
    worker: bool = False,
    lenient: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT; `say` is given the lines that say what and where.

    worker: share the port with others. lenient: where the newest version cannot serve, take the
    newest that can. Raises ServingError where it cannot start.
    """
    asyncio.run(_serve(settings, say, worker, lenient))
    if any(not thread.daemon for thread in threading.enumerate() if thread.name != "MainThread"):
        # A batch that was cut off still runs, and Python would wait for its thread.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _serve(
    settings: Settings, say: Callable[[str], None], worker: bool, lenient: bool
) -> None:
    security = protected(
        settings.tls_cert,
        settings.tls_key,
        settings.tls_client_ca,
        settings.tokens,
        settings.insecure_public,
    )
    security.check(settings.address)  # before what takes long
    loader = Loader(settings)
    with (
        observation(settings, worker) as (observer, lines),
        Ending() as ending,
        Watcher(loader, LOOK_S if settings.watch else None) as watcher,
    ):
        try:
            roster = await _load(loader, ending, lenient)
        except Ended:
            return
        watching = asyncio.create_task(_follow(watcher, roster, ending))
        try:
            await server.serve(
                roster,
                settings.address,
                settings.limits,
                lambda port: say("\n".join([_said(settings, roster, port), *lines])),
                settings.grace_s,
                security,
                ending,
                observer,
                worker,
            )
        finally:
            ending.told.set()
            await watching
            await watcher.close()


async def _follow(watcher: Watcher, roster: Roster, ending: Ending) -> None:
    with contextlib.suppress(Ended):
        await ending.unless_told(watcher.follow(roster))


async def _load(loader: Loader, ending: Ending, lenient: bool) -> Roster:
    found = loader.found()
    while True:
        weights = loader.wanted(found)
        try:
            versions = await _load_all(loader, list(weights), ending)
            return Roster(*versions, weights=list(weights.values()))
        except ServingError as error:
            if not lenient or len(found) == 1:
                raise
            log.error("version %s is refused: %s", found.pop(), error)


async def _load_all(loader: Loader, names: list[str], ending: Ending) -> list[ServedVersion]:
    versions: list[ServedVersion] = []
    try:
        for name in names:
            versions.append(await ending.unless_told(loader.load(name)))
    except BaseException:
        for loaded in versions:
            await loaded.close()
        raise
    return versions


def _said(settings: Settings, roster: Roster, port: int) -> str:
    """What the façade says of itself once it answers."""
    served = roster.describe("").versions
    total = sum(each.weight for each in served)
    shares = [f"{each.version} ({each.weight / total:.1%})" for each in served]
    versions = served[0].version if len(served) == 1 else ", ".join(shares)
    place = opened(settings.address, port)
    return f"{settings.name} {versions} on {place}, computed by {settings.backend}"
