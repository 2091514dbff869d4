"""From a version in the store to one that can serve: verified, loaded and warmed up."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from anirank.errors import BundleError
from bundles.bundle import MANIFEST, Bundle, as_of, natural_order, versions
from bundles.files import Stamp, stamp_of
from bundles.manifest import signed_content
from handlers.facade.backends.opening import opener
from handlers.facade.backends.threads import in_thread
from handlers.facade.settings import Settings
from handlers.facade.versions.copies import Copies
from handlers.facade.versions.preparation import (
    check_identity,
    prepare,
    prepare_apart,
    stamps_of,
)
from handlers.facade.versions.roster import ServedVersion
from handlers.facade.versions.turn import turn

# By file; see `stamp_of`.
Stamps = dict[Path, Stamp | None]
Result = TypeVar("Result")

LOOK_S = 30.0  # the longest that a look at the store is waited for


class Loader:
    """Opens the versions of one model, the one way in for all that serves.

    loader = Loader(settings)
    version = await loader.load(loader.available()[-1])

    folder: where the versions are.
    """

    def __init__(self, settings: Settings) -> None:
        """Open what `settings` say, for the backend they name; raises what `Copies` raises."""
        self._settings = settings
        self._opener = opener(settings)
        self._copies = None if settings.map_store else Copies(settings.copies)
        self._looking: asyncio.Future[Any] | None = None
        self.folder = settings.store / settings.name

    def close(self) -> None:
        """Let go of the copies; what serves has opened its files."""
        if self._copies is not None:
            self._copies.close()

    def available(self) -> list[str]:
        """The versions in the store, the newest last; raises BundleError where there is none."""
        return versions(self._settings.store, self._settings.name)

    def weights(self, available: list[str]) -> dict[str, float]:
        """Weight by version of what is to be served; see `Settings.weights`."""
        return self._settings.weights(available)

    def stamps(self, version: str) -> Stamps:
        """What changes whenever a file that `load` reads of a version does."""
        stamps = {path: stamp_of(path) for path in self._opener.files}
        # What cannot be seen, or goes meanwhile, is not there.
        for folder, _, names in os.walk(self.folder / version):
            stamps |= {path: stamp_of(path) for path in map(Path(folder).joinpath, names)}
        return stamps

    async def look(self, work: Callable[[], Result]) -> Result:
        """What `available` or `stamps` find; raises BundleError where the store does not answer."""
        if self._looking is None or self._looking.done():
            looking = asyncio.ensure_future(in_thread(work))
            self._looking = looking
            done, _ = await asyncio.wait((looking,), timeout=LOOK_S)
            if done:
                return looking.result()
        raise BundleError(f"{self.folder}: does not answer within {LOOK_S:g} s")

    async def probe(self, version: str) -> None:
        """Raise BackendUnavailable where the backend cannot serve a version yet."""
        await self._opener.probe(version)

    async def load(self, version: str, apart: bool = True) -> ServedVersion:
        """A version that is ready to serve; what takes long is done elsewhere than here.

        apart: verify and try it in a process of its own first, which ends with the time it has. A
        process that serves nobody yet can do so itself, which is sooner done: it ends as well.
        Raises BundleError where the bundle is not whole or not of this format, or takes too long,
        and the errors of what computes. Cancelled, it leaves nothing running that others wait for.
        """
        settings, folder = self._settings, self.folder / version
        available = await self.look(self.available)
        if version not in available:
            found = ", ".join(available)
            raise BundleError(f"{self.folder}: has no version {version!r}; found {found}")
        oldest = settings.not_before
        if oldest is not None and natural_order(version) < natural_order(oldest):
            raise BundleError(f"{folder}: is older than {oldest}, which --not-before says")
        try:
            async with asyncio.timeout(settings.load_s):
                bundle = await self._bundle(folder, apart)
        except TimeoutError:
            raise self._too_long(folder) from None
        with as_of(folder, bundle.folder):
            try:
                async with asyncio.timeout(settings.load_s):
                    backend = await self._opener.open(bundle)
            except TimeoutError:
                raise self._too_long(folder) from None
        return ServedVersion(bundle, backend, settings.limits)

    def let_go(self, version: ServedVersion) -> None:
        """Remove a version's copy; who has opened its files may read on."""
        if self._copies is not None:
            self._copies.drop(version.bundle.folder)

    async def _bundle(self, folder: Path, apart: bool) -> Bundle:
        if self._copies is None:
            stamps = await self._prepared(folder, None, apart)
            bundle = await in_thread(lambda: Bundle.open(folder, verify=False))
            for name, stamp in stamps_of(bundle).items():
                if stamps.get(name) != stamp:
                    raise BundleError(f"{folder / name}: changed after it was verified")
            return bundle
        # Of several processes one makes the copy; the others then find it.
        async with turn(self._copies.turn, self._settings.load_s):
            trust = self._settings.trust
            content = await in_thread(lambda: signed_content(folder / MANIFEST, trust))
            copied = self._copies.find(self._copy_name(folder, content))
            if copied is None:
                copied = await self._copied(folder, apart)
        with as_of(folder, copied):
            bundle = await in_thread(lambda: Bundle.open(copied, verify=False))
        # The copy may be that of a façade of other settings.
        check_identity(bundle.manifest, folder, self._settings)
        return bundle

    async def _copied(self, folder: Path, apart: bool) -> Path:
        copies = self._copies
        assert copies is not None
        scratch = copies.scratch()
        try:
            await self._prepared(folder, scratch, apart)
            # It may be of another manifest than that of a moment ago.
            content = signed_content(scratch / MANIFEST)
            return copies.keep(scratch, self._copy_name(folder, content))
        except BaseException:
            copies.drop(scratch)
            raise

    def _copy_name(self, folder: Path, content: bytes) -> str:
        """What the copy of a version goes by, of which `content` is the manifest.

        One is as good as another if it was made of the same manifest, for what reads the same.
        """
        of = self._settings
        reads = repr((of.backend, of.fallback, of.engine, of.device)).encode()
        return f"{folder.name}-{hashlib.sha256(content + reads).hexdigest()[:32]}"

    async def _prepared(
        self, folder: Path, into: Path | None, apart: bool
    ) -> Mapping[str, Stamp | None]:
        settings = self._settings
        if apart:
            return await prepare_apart(settings, folder, into)
        return await in_thread(lambda: prepare(settings, folder, into, False))

    def _too_long(self, folder: Path) -> BundleError:
        return BundleError(f"{folder}: is not loaded after {self._settings.load_s:g} s")
