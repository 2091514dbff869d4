"""From a version in the store to one that can serve: verified, loaded and warmed up."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anirank.errors import BundleError
from bundles.bundle import Bundle, versions
from bundles.files import Stamp, stamp_of
from handlers.facade.backends.opening import opener
from handlers.facade.settings import Settings
from handlers.facade.versions.roster import ServedVersion

# Of the thread that verifies a version, so that those who are answered meanwhile wait less for a
# core. Of all the work of a new version, hashing its files takes the longest.
NICENESS = 10

# By file; see `stamp_of`.
Stamps = dict[Path, Stamp | None]


class Loader:
    """Opens the versions of one model, the one way in for all that serves.

    loader = Loader(settings)
    version = await loader.load(loader.available()[-1])

    folder: where the versions are.
    """

    def __init__(self, settings: Settings) -> None:
        """Open what `settings` say, for the backend they name."""
        self._settings = settings
        self._opener = opener(settings)
        self._verifying = ThreadPoolExecutor(1, "verify", initializer=_give_way)
        self.folder = settings.store / settings.name

    def available(self) -> list[str]:
        """The versions in the store, the newest last; raises BundleError where there is none."""
        return versions(self._settings.store, self._settings.name)

    def weights(self, available: list[str]) -> dict[str, float]:
        """Weight by version of what is to be served; see `Settings.weights`."""
        return self._settings.weights(available)

    def stamps(self, version: str) -> Stamps:
        """What changes whenever a file that `load` reads of a version does."""
        paths = [path for path in (self.folder / version).rglob("*") if path.is_file()]
        return {path: stamp_of(path) for path in [*paths, *self._opener.files]}

    async def probe(self, version: str) -> None:
        """Raise BackendUnavailable where the backend cannot serve a version yet."""
        await self._opener.probe(version)

    async def load(self, version: str) -> ServedVersion:
        """A version that is ready to serve; what takes long is done in a thread.

        Raises BundleError where the bundle is not whole or not of this format, and the errors of
        what computes. Cancelled, it leaves nothing running.
        """
        loop = asyncio.get_running_loop()
        bundle = await loop.run_in_executor(self._verifying, self._bundle, version)
        return ServedVersion(bundle, await self._opener.open(bundle), self._settings.limits)

    def _bundle(self, version: str) -> Bundle:
        settings = self._settings
        bundle = Bundle.latest(settings.store, settings.name, version, settings.trust)
        held = bundle.manifest.version
        if held != version:
            raise BundleError(
                f"{bundle.folder / 'manifest.json'}: version is {held!r}, the folder's name says "
                f"{version!r}"
            )
        return bundle


def _give_way() -> None:
    """Let this thread compute when others do not."""
    if sys.platform == "linux":  # where each thread has its own, and not the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
