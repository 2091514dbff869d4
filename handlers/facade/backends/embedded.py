"""A backend in this process: an engine over compiled code or ONNX Runtime."""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from anirank.errors import BackendUnavailable, BundleError, InvalidQuery, ServingError
from bundles.bundle import AFFINITY, ONNX, Bundle
from bundles.graph import Inputs, Outputs
from bundles.manifest import Manifest
from handlers.engine.engine import Engine
from handlers.engine.loading import compiles, engine_of
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.threads import in_thread
from handlers.facade.settings import Settings


class EmbeddedBackend:
    """An engine in this process, in a thread of its own, so that the event loop stays free."""

    in_flight = 1
    largest_batch = 4_096  # about 10 ms on a core; handing a batch over takes about 0.2

    def __init__(self, engine: Engine) -> None:
        """Answer with `engine`, by whose name this goes."""
        self.name = engine.name
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._rank, queries)

    def is_quick(self, query: Query) -> bool:
        """Whether the engine needs no thread for a query; see `Backend.is_quick`."""
        return self._engine.is_quick(query)

    def rank_now(self, query: Query) -> Ranking | InvalidQuery:
        """Answer a quick query on the event loop; see `Backend.rank_now`."""
        [answer] = self._rank([query])
        return answer

    def run(self, inputs: Inputs) -> Outputs:
        """The graph's outputs, in the caller's thread; see `Graph.run`."""
        return self._engine.run(inputs)

    def _rank(self, queries: list[Query]) -> list[Ranking | InvalidQuery]:
        try:
            return self._engine.rank(queries)
        except Exception as error:  # of what computes, whichever it is
            raise BackendUnavailable(f"the {self.name} engine failed ({error})") from error

    async def ready(self) -> bool:
        """True: an engine that stands is ready."""
        return True

    async def close(self) -> None:
        """End the thread once its batch is done, which is not waited for."""
        self._thread.shutdown(wait=False)


class Opener:
    """Loads what computes for a bundle, and scores once with it."""

    files = ()

    def __init__(self, settings: Settings) -> None:
        """Load the engine for the device, and with the threads and limits, that `settings` say."""
        self._settings = settings

    async def probe(self, version: str) -> None:
        """Do nothing: what there is to know of a version is in its bundle."""

    async def open(self, bundle: Bundle) -> EmbeddedBackend:
        """A backend for a bundle; raises BundleError and DeviceUnavailable."""
        return EmbeddedBackend(await in_thread(lambda: self._opened(bundle)))

    def graphs(self, manifest: Manifest) -> Collection[str]:
        """Those that ONNX Runtime reads, where it computes."""
        of = self._settings
        return () if compiles(manifest, of.engine, of.device) else (ONNX, AFFINITY)

    def rehearse(self, bundle: Bundle) -> None:
        """Load the engine, and score once with it; see `Opener.rehearse`."""
        self._opened(bundle)

    def _opened(self, bundle: Bundle) -> Engine:
        of = self._settings
        engine = engine_of(bundle, of.engine, of.device, of.threads, of.limits)
        try:
            engine.warm_up()
        except ServingError:
            raise
        except Exception as error:  # of what computes, whichever it is
            reason = " ".join(str(error).split())[:300]
            raise BundleError(f"{bundle.folder}: cannot score the catalogue ({reason})") from error
        return engine
