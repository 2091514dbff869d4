"""The versions of a model that are served, and which of them answers a request."""

from anime.ranking.v1 import ranking_pb2 as pb

from handlers import messages
from handlers.backends import Backend
from handlers.batching import Batcher
from handlers.bundle import Bundle
from handlers.errors import InvalidQuery
from handlers.query import Limits


class ServedVersion:
    """One version: a bundle, the backend that computes for it, and the queue before that.

    name: the version's, as the manifest says. limits: of a query. batcher: takes its queries.
    """

    def __init__(self, bundle: Bundle, backend: Backend, limits: Limits) -> None:
        """Answer for `bundle` with `backend`, which should serve it."""
        self.bundle = bundle
        self.backend = backend
        self.limits = limits
        self.batcher = Batcher(backend, len(bundle.catalogue), limits)
        self.name = bundle.manifest.version
        self.info = messages.write_info(bundle, backend.name, limits)

    async def close(self) -> None:
        """Let go of the backend."""
        await self.backend.close()


class Roster:
    """The versions served now."""

    def __init__(self, version: ServedVersion) -> None:
        """Serve one version."""
        self._version = version

    def choose(self, wanted: str) -> ServedVersion:
        """The version to ask: the one wanted, or any if that is empty.

        Raises InvalidQuery where the version wanted is not served.
        """
        if wanted and wanted != self._version.name:
            raise InvalidQuery(
                "model_version", f"{wanted[:100]!r} is not served; served is {self._version.name}"
            )
        return self._version

    def describe(self, wanted: str) -> pb.ModelInfo:
        """What GetModelInfo answers. Raises InvalidQuery as `choose` does."""
        return self.choose(wanted).info

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        return await self._version.backend.ready()

    async def close(self) -> None:
        """Let go of all versions."""
        await self._version.close()
