"""From a version in the store to one that can serve: verified, loaded and warmed up."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from anirank.errors import BundleError, ServingError
from bundles.bundle import ONNX, Bundle, versions
from bundles.files import Stamp, stamp_of
from handlers.engine.engine import Engine
from handlers.engine.onnx_graph import OnnxGraph
from handlers.facade.backends.embedded import Backend, EmbeddedBackend
from handlers.facade.backends.fallback import FallbackBackend
from handlers.facade.backends.own_torchserve import OwnTorchServe
from handlers.facade.backends.torchserve import CALL_S, TorchServeBackend
from handlers.facade.settings import Settings
from handlers.facade.versions.roster import ServedVersion
from handlers.torchserve.server import TorchServe, check_archive

# Seconds that a batch waits for TorchServe where there is a fallback, which is soon done itself.
FALL_BACK_S = 2.0

# By file; see `stamp_of`.
Stamps = dict[Path, Stamp | None]

# What is done in the event loop, once a thread has done what takes long.
Ready = Callable[[], Backend]


class Loader:
    """Opens the versions of one model, the one way in for all that serves.

    loader = Loader(settings)
    version = await loader.load(loader.found()[-1])

    folder: where the versions are.
    """

    def __init__(self, settings: Settings) -> None:
        """Open what `settings` say, for the backend they say."""
        self._settings = settings
        self.folder = settings.store / settings.name
        self._abandoned = threading.Event()
        self._call_s = FALL_BACK_S if settings.fallback else CALL_S
        if settings.backend == "onnxruntime":
            self._open: Callable[[Bundle], Ready] = self._embedded
        elif settings.torchserve is not None:
            self._open = self._over_another
        else:
            self._open = self._over_its_own

    def found(self) -> list[str]:
        """The versions in the store, the newest last; raises BundleError where there is none."""
        return versions(self._settings.store, self._settings.name)

    def wanted(self, found: list[str]) -> dict[str, float]:
        """Weight by version of what the settings ask for; see `Settings.wanted`."""
        return self._settings.wanted(found)

    def stamps(self, version: str) -> Stamps:
        """What changes whenever a file that `load` reads of a version does."""
        paths = [path for path in (self.folder / version).rglob("*") if path.is_file()]
        return {path: stamp_of(path) for path in [*paths, self._archive]}

    async def probe(self, version: str) -> None:
        """Raise BackendUnavailable where a TorchServe that is not ours does not serve a version."""
        settings = self._settings
        if settings.backend == "onnxruntime" or settings.torchserve is None:
            return
        backend = self._another(version)
        try:
            await backend.check()
        finally:
            await backend.close()

    async def load(self, version: str) -> ServedVersion:
        """A version that is ready to serve; what takes long is done in a thread.

        Raises BundleError where the bundle is not whole or not of this format, and the errors of
        what computes. Cancelled, it leaves nothing running.
        """
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened, version))
        try:
            bundle, ready = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._abandoned.set()
            await asyncio.wait((opening,))
            if opening.exception() is None:
                await opening.result()[1]().close()
            raise
        return ServedVersion(bundle, ready(), self._settings.limits)

    def _opened(self, version: str) -> tuple[Bundle, Ready]:
        settings = self._settings
        bundle = Bundle.latest(settings.store, settings.name, version, settings.trust)
        if bundle.manifest.version != version:
            said = f"version is {bundle.manifest.version!r}, the folder's name says {version!r}"
            raise BundleError(f"{bundle.folder / 'manifest.json'}: {said}")
        if settings.backend == "onnxruntime" or not settings.fallback:
            return bundle, self._open(bundle)
        other, first = self._embedded(bundle), self._open(bundle)
        return bundle, lambda: FallbackBackend(first(), other())

    @property
    def _archive(self) -> Path:
        return self._settings.store / f"{self._settings.name}.mar"

    def _embedded(self, bundle: Bundle) -> Callable[[], EmbeddedBackend]:
        settings = self._settings
        file = bundle.graph_file(ONNX)
        graph = OnnxGraph(bundle, settings.device, settings.threads)
        engine = Engine(bundle, graph, settings.limits)
        try:
            engine.warm_up()
        except ServingError:
            raise
        except Exception as error:  # of the graph's library, whichever it is
            said = " ".join(str(error).split())[:300]
            raise BundleError(f"{file}: cannot score the catalogue ({said})") from error
        return lambda: EmbeddedBackend(engine)

    def _over_another(self, bundle: Bundle) -> Ready:
        return lambda: self._another(bundle.manifest.version)

    def _another(self, version: str) -> TorchServeBackend:
        settings = self._settings
        return TorchServeBackend(
            str(settings.torchserve),
            settings.name,
            version,
            settings.keys,
            settings.management,
            settings.calls,
            self._call_s,
        )

    def _over_its_own(self, bundle: Bundle) -> Ready:
        archive, version = self._archive, bundle.manifest.version
        check_archive(archive, version)
        server = TorchServe(archive, trust=self._settings.trust, abandoned=self._abandoned)
        return lambda: OwnTorchServe(server, version, self._call_s)
