"""From settings to a façade that answers: what `anirank serve` does."""

import asyncio
import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from anirank.client.addresses import with_port
from anirank.errors import HistoriesError, ServingError, naming_the_extra
from handlers.engine.scorer import has_compiler
from handlers.facade import server
from handlers.facade.backends.threads import APART
from handlers.facade.settings import Settings
from handlers.facade.shutdown import Shutdown, ShutdownRequested
from handlers.facade.telemetry.observer import Observer
from handlers.facade.telemetry.setup import observation
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import CHECK_S, Reloader
from handlers.facade.versions.roster import Roster, ServedVersion
from handlers.forms.messages import ReadApart
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store
from handlers.security.access import Security

log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    announce: Callable[[str], None],
    *,
    worker: bool = False,
    lenient: bool = False,
    live: tuple[Callable[[], None], float] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is given the lines that say what and where.

    worker: share the port with others. lenient: where the newest version cannot serve, take the
    newest that can. live: to be called again and again from the event loop, after so many seconds.
    Raises ServingError where it cannot start.
    """
    try:
        asyncio.run(_living(_serve(settings, announce, worker, lenient), live))
    except ServingError as error:
        if _computes():
            atexit.register(_end, error.exit_code)  # once it was shown
        raise
    if _computes():
        _end(0)


def _end(code: int) -> None:
    """End without waiting for threads."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _living(
    serving: Coroutine[Any, Any, None], live: tuple[Callable[[], None], float] | None
) -> None:
    async def beat(sign: Callable[[], None], pause_s: float) -> None:
        while True:
            sign()
            await asyncio.sleep(pause_s)

    beating = asyncio.create_task(beat(*live)) if live is not None else None
    try:
        await serving
    finally:
        if beating is not None:
            beating.cancel()


def _computes() -> bool:
    """Whether a batch that was cut off still runs, or hangs what was to be loaded.

    Python would wait for such a thread, or fall over it.
    """
    others = (each for each in threading.enumerate() if each.name != "MainThread")
    return any(not each.daemon or each.name == APART for each in others)


async def _serve(
    settings: Settings, announce: Callable[[str], None], worker: bool, lenient: bool
) -> None:
    security = Security.from_files(
        certificate=settings.tls_cert,
        key=settings.tls_key,
        client_ca=settings.tls_client_ca,
        tokens=settings.tokens,
        insecure_public=settings.insecure_public,
    )
    for address in filter(None, (settings.address, settings.http)):
        security.check(address)  # before what takes long
    site = None
    if settings.http is not None:
        with naming_the_extra("http"):
            from handlers.facade.protocols.http import app  # noqa: F401 - whether it is there
            from handlers.facade.protocols.http.site import Site
        if settings.page is not None:
            site = await asyncio.to_thread(Site.read, settings.page)
    with (
        contextlib.closing(Loader(settings)) as loader,
        observation(settings, worker) as (observer, lines),
        Shutdown() as shutdown,
        Reloader(loader, CHECK_S if settings.watch else None) as reloader,
    ):
        try:
            roster = await _load(loader, shutdown, lenient)
        except ShutdownRequested:
            return
        try:
            histories = await _histories(settings, observer, lenient)
        except BaseException:
            await roster.close()
            raise
        following = asyncio.create_task(_follow(reloader, roster, shutdown))
        try:
            await server.serve(
                roster,
                settings.address,
                limits=settings.limits,
                security=security,
                observer=observer,
                read_apart=await asyncio.to_thread(_read_apart, settings),
                histories=histories,
                shutdown=shutdown,
                grace_s=settings.grace_s,
                shared=worker,
                http=settings.http,
                http_started=lambda url: lines.append(_web(url, site is not None)),
                site=site,
                started=lambda port: announce("\n".join([_place(settings, roster, port), *lines])),
            )
        finally:
            shutdown.requested.set()
            await following
            await reloader.close(patience_s=0)  # what they were asked has ended, or was cut off


async def _follow(reloader: Reloader, roster: Roster, shutdown: Shutdown) -> None:
    with contextlib.suppress(ShutdownRequested):
        await shutdown.unless_requested(reloader.follow(roster))


async def _histories(settings: Settings, observer: Observer, lenient: bool) -> Histories | None:
    """What users have watched, where it is kept.

    lenient: another process began to serve with the store: without it this one serves as well, and
    makes none in its place. Raises HistoriesError.
    """
    if settings.histories is None:
        return None
    store = open_store(settings.histories, settings.histories_mib, lenient=lenient)
    histories = Histories(store, settings.max_recorded, observer.histories)
    try:
        await histories.check()
    except HistoriesError as error:
        if not lenient:
            await histories.close()
            raise
        observer.histories(str(error))
    return histories


async def _load(loader: Loader, shutdown: Shutdown, lenient: bool) -> Roster:
    available = loader.available()
    while True:
        weights = loader.weights(available)
        try:
            versions = await _load_all(loader, list(weights), shutdown, lenient)
            return Roster(*versions, weights=list(weights.values()))
        except ServingError as error:
            if not lenient or len(available) == 1:
                raise
            log.error("version %s is refused: %s", available.pop(), error)


async def _load_all(
    loader: Loader, names: list[str], shutdown: Shutdown, apart: bool
) -> list[ServedVersion]:
    versions: list[ServedVersion] = []
    try:
        for name in names:
            versions.append(await shutdown.unless_requested(loader.load(name, apart)))
    except BaseException:
        for loaded in versions:
            await loaded.close()
        raise
    return versions


def _read_apart(settings: Settings) -> ReadApart | None:
    """Compiled code, where there is any; used once, so that no request pays for compiling it."""
    if settings.engine == "onnxruntime" or not has_compiler():
        return None
    from handlers.forms.wire import read_apart

    read_apart(b"", 0)
    return read_apart


def _place(settings: Settings, roster: Roster, port: int) -> str:
    """Which versions answer where, in one line."""
    shares = [f"{version} ({share:.1%})" for version, share in roster.shares.items()]
    versions = roster.versions[0].name if len(shares) == 1 else ", ".join(shares)
    place = with_port(settings.address, port)
    return f"{settings.name} {versions} on {place}, computed by {roster.versions[0].backend.name}"


def _web(url: str, page: bool) -> str:
    """What is shown where over HTTP, in one line."""
    return f"HTTP on {url}, the page on {url}/page/" if page else f"HTTP on {url}"
