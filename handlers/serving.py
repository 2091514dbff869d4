"""From settings to a façade that answers: what `anirank serve` does."""

import asyncio
import contextlib
from collections.abc import Callable

from handlers import facade
from handlers.ending import Ended, Ending
from handlers.loading import Loader
from handlers.observation import observation
from handlers.security import opened, protected
from handlers.settings import Settings
from handlers.versions import Roster
from handlers.watching import LOOK_S, Watcher


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `say` is given the lines that say what and where.

    Raises ServingError where it cannot start.
    """
    asyncio.run(_serve(settings, say))


async def _serve(settings: Settings, say: Callable[[str], None]) -> None:
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
        observation(settings) as (observer, lines),
        Ending() as ending,
        Watcher(loader, LOOK_S if settings.watch else None) as watcher,
    ):
        try:
            roster = await _load(loader, ending)
        except Ended:
            return
        watching = asyncio.create_task(_follow(watcher, roster, ending))
        try:
            await facade.serve(
                roster,
                settings.address,
                settings.limits,
                lambda port: say("\n".join([_said(settings, roster, port), *lines])),
                settings.grace_s,
                security,
                ending,
                observer,
            )
        finally:
            ending.told.set()
            await watching
            await watcher.close()


async def _follow(watcher: Watcher, roster: Roster, ending: Ending) -> None:
    with contextlib.suppress(Ended):
        await ending.unless_told(watcher.follow(roster))


async def _load(loader: Loader, ending: Ending) -> Roster:
    weights = loader.wanted(loader.found())
    versions = []
    try:
        for version in weights:
            versions.append(await ending.unless_told(loader.load(version)))
    except BaseException:
        for loaded in versions:
            await loaded.close()
        raise
    return Roster(*versions, weights=list(weights.values()))


def _said(settings: Settings, roster: Roster, port: int) -> str:
    """What the façade says of itself once it answers."""
    served = roster.describe("").versions
    total = sum(each.weight for each in served)
    shares = [f"{each.version} ({each.weight / total:.1%})" for each in served]
    versions = served[0].version if len(served) == 1 else ", ".join(shares)
    place = opened(settings.address, port)
    return f"{settings.name} {versions} on {place}, computed by {settings.backend}"
