"""New versions in the store: verified and warmed up beside the old, then switched to."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

from anirank.errors import BackendUnavailable, BundleError
from handlers.facade.versions.loader import Loader, Stamps
from handlers.facade.versions.roster import Roster, ServedVersion

CHECK_S = 1.0  # between two checks of the store
TURN_S, _TRY_S = 60.0, 0.05  # how long to wait for a turn to load, and between two tries

log = logging.getLogger(__name__)


class Reloader:
    """Keeps a roster at what the settings ask for, whatever comes into the store or leaves it.

    with Reloader(loader, CHECK_S) as reloader:
        await reloader.follow(roster)

    A version that cannot serve is refused in one line of the log, and not tried again until a file
    of it changes; what was served before serves on. The old versions end what they have begun.
    """

    def __init__(self, loader: Loader, every_s: float | None) -> None:
        """Check every `every_s` seconds (None: never), and at each SIGHUP while entered."""
        self._loader = loader
        self._every_s = every_s
        self._asked = asyncio.Event()
        self._stamps: dict[str, Stamps] = {}  # at the last check
        self._refused: dict[str, Stamps] = {}
        self._complaint = ""  # the last one
        self._closing: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "Reloader":
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    async def follow(self, roster: Roster) -> None:
        """Check again and again, until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), self._every_s)
            except TimeoutError:
                await self.check(roster, patient=True)
            else:
                self._asked.clear()
                self._complaint = ""
                if not await self.check(roster, patient=False):
                    log.info("SIGHUP: nothing to change; %s serves on", _named(roster))

    async def check(self, roster: Roster, patient: bool) -> bool:
        """Serve what the store holds now; whether that is something else than before.

        patient: leave a version whose files have changed since the last check for the next one.
        """
        try:
            available = await asyncio.to_thread(self._loader.available)
        except BundleError as error:
            self._complain(f"{_named(roster)} serves on: {error}")
            return False
        served = {version.name: version for version in roster.versions}
        while available:
            weights = self._loader.weights(available)
            new = [name for name in weights if name not in served]
            if not new:
                return self._switch(roster, served, weights)
            loaded = await self._load(new[0], roster, patient)
            if loaded is None:
                available = [name for name in available if name != new[0]]
            else:
                served[loaded.name] = loaded
        return False

    async def close(self) -> None:
        """Wait until the versions that were switched from have ended."""
        while self._closing:
            await asyncio.wait(self._closing)

    async def _load(self, name: str, roster: Roster, patient: bool) -> ServedVersion | None:
        """The version, or None where it is refused, or still being written."""
        stamps = await asyncio.to_thread(self._loader.stamps, name)
        changing, self._stamps[name] = self._stamps.get(name) != stamps, stamps
        if self._refused.get(name) == stamps or (patient and changing):
            return None
        try:
            await self._loader.probe(name)
            async with _turn(self._loader.folder):
                return await self._loader.load(name)
        except BackendUnavailable as error:  # it may come without a change in the store
            self._complain(f"version {name} is refused, {_named(roster)} serves on: {error}")
        except Exception as error:  # whatever is wrong with it, the old one serves on
            self._refused[name] = stamps
            self._complain(f"version {name} is refused, {_named(roster)} serves on: {error}")
        return None

    def _switch(
        self, roster: Roster, served: dict[str, ServedVersion], weights: dict[str, float]
    ) -> bool:
        before = roster.versions
        if weights == roster.weights:
            return False
        roster.switch([served[name] for name in weights], list(weights.values()))
        gone = [version for version in before if version not in roster.versions]
        for version in gone:
            task = asyncio.get_running_loop().create_task(self._close(version))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        log.info("version %s serves from now on", _named(roster))
        return True

    async def _close(self, version: ServedVersion) -> None:
        try:
            await version.close()
        except Exception as error:  # it has answered all; the rest is not worth an end
            log.error("version %s: %s", version.name, error)
        else:
            log.info("version %s has answered all it was asked", version.name)

    def _complain(self, line: str) -> None:
        """Log what is wrong, once while it stays so."""
        if line != self._complaint:
            log.error("%s", line)
        self._complaint = line


@contextlib.asynccontextmanager
async def _turn(folder: Path) -> AsyncIterator[None]:
    """Wait until no other process of this machine loads from `folder`, for a minute at most.

    Loading takes a core; the workers of one façade would all take theirs at the same time.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(int(TURN_S / _TRY_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_TRY_S)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(descriptor)  # which ends the turn


def _named(roster: Roster) -> str:
    return ", ".join(version.name for version in roster.versions)
