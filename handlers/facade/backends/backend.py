"""What a backend is, and what opens one."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from bundles.manifest import Manifest
from handlers.engine.query import Query, Ranking
from handlers.facade.settings import Settings

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Computes(Protocol[Asked, Answered]):
    """Answers batches of queries of one kind.

    name: what GetModelInfo calls it. in_flight: batches it computes at a time. largest_batch: the
    candidates of one batch; it is answered as a whole, so they bound how long its queries wait for
    each other, and should be many enough that what a batch costs by itself is little beside them.
    """

    name: str
    in_flight: int
    largest_batch: int

    async def rank(
        self, queries: list[Asked], timeout_s: float | None = None
    ) -> list[Answered | InvalidQuery]:
        """Answer every query, in order; after `timeout_s` seconds nobody waits for it any more.

        Raises BackendUnavailable where none can be answered, or DeadlinePassed.
        """

    def is_quick(self, query: Asked) -> bool:
        """Whether `rank_now` answers a query in less time than a batch of its own takes to form."""

    def rank_now(self, query: Asked) -> Answered | InvalidQuery:
        """Answer a quick query, without letting go of the event loop; as `rank` does."""

    async def ready(self) -> bool:
        """Whether a batch would be answered now."""

    async def close(self) -> None:
        """Let go of threads and connections."""


class Backend(Computes[Query, Ranking], Protocol):
    """Answers queries to rank."""


class Opener(Protocol):
    """Opens backends of one kind for the versions of a model."""

    @property
    def files(self) -> Sequence[Path]:
        """What it reads of the store beside a bundle's own files."""

    def __init__(self, settings: Settings) -> None:
        """Open what `settings` say."""

    async def probe(self, version: str) -> None:
        """Raise BackendUnavailable where a version cannot be opened yet, before it is loaded."""

    def graphs(self, manifest: Manifest) -> Collection[str]:
        """Which of a bundle's graphs are read here."""

    def rehearse(self, bundle: Bundle) -> None:
        """Load here what computes for a bundle, and compute with it once; may take for ever.

        Raises what `open` raises.
        """

    async def open(self, bundle: Bundle) -> Backend:
        """A backend that is ready to compute for a bundle; what takes long is done in a thread.

        Raises the errors of what computes, by name. Cancelled, it leaves nothing running.
        """
