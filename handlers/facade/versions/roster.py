"""The versions of a model that are served, and which of them answers a request."""

import asyncio
import contextlib
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.query import Limits, Query, Ranking
from handlers.facade.backends.backend import Backend
from handlers.facade.backends.graph import GraphAnswer, GraphBackend, GraphQuery
from handlers.facade.backends.similar import SimilarBackend
from handlers.facade.batching.batcher import Batcher
from handlers.forms import messages
from handlers.forms.replies import Replies
from handlers.similar.query import SimilarQuery, SimilarRanking


class ServedVersion:
    """One version: a bundle, the backend that computes for it, and the queue before that.

    name: the version's, as the manifest says. limits: of a query. batcher, similar, graph:
    take its queries to rank, for what is alike, and by the graph's own signature. replies: writes
    its replies.
    """

    def __init__(self, bundle: Bundle, backend: Backend, limits: Limits) -> None:
        """Answer for `bundle` with `backend`, which should serve it."""
        self.bundle = bundle
        self.backend = backend
        self.limits = limits
        size, alike = len(bundle.catalogue), SimilarBackend(bundle, limits)
        self.batcher: Batcher[Query, Ranking] = Batcher(backend, size, limits)
        self.similar: Batcher[SimilarQuery, SimilarRanking] = Batcher(alike, size, limits)
        graph = GraphBackend(bundle, getattr(backend, "run", None))
        self.graph: Batcher[GraphQuery, GraphAnswer] = Batcher(graph, size, limits)
        self._alike, self._graph = alike, graph
        self.name = bundle.manifest.version
        self.replies = Replies(bundle)
        self.info = messages.write_info(bundle, backend.name, limits)

    async def close(self, patience_s: float | None = None) -> None:
        """Let go of the backend, once all that waits or is computed has its answer.

        patience_s: after so many seconds, with or without; None waits for it.
        """
        lines = (self.batcher, self.similar, self.graph)
        drained = asyncio.gather(*(each.drained() for each in lines))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, patience_s)
        await self._alike.close()
        await self._graph.close()
        await self.backend.close()


@dataclass(frozen=True, slots=True)
class _Served:
    """What is switched in one assignment; `bounds` are the upper ends of all shares but the last.

    versions, infos: the newest last. bounds: ascending, in 0..1.
    """

    versions: tuple[ServedVersion, ...]
    by_name: Mapping[str, int]
    bounds: tuple[float, ...]
    infos: tuple[pb.ModelInfo, ...]


class Roster:
    """The versions served now, and the share of the requests that each has.

    followed: whether the store was seen when somebody last looked whether it holds others.
    """

    def __init__(self, *versions: ServedVersion, weights: Sequence[float] | None = None) -> None:
        """Serve `versions`, the newest last, by equal weights unless others are given."""
        self.followed = True
        self._served = _serve(versions, weights or [1.0] * len(versions))

    @property
    def versions(self) -> tuple[ServedVersion, ...]:
        """Those served, the newest last."""
        return self._served.versions

    @property
    def weights(self) -> dict[str, float]:
        """Weight by version."""
        return {listed.version: listed.weight for listed in self._served.infos[0].versions}

    def switch(self, versions: Sequence[ServedVersion], weights: Sequence[float]) -> None:
        """Serve these from the next request on, and none that is not among them."""
        self._served = _serve(versions, weights)

    def choose(self, wanted: str, user_id: int | None = None) -> ServedVersion:
        """The version to ask: the one wanted; if that is empty, one by the weights.

        A user is always sent to the same version while the weights stay; where the newest gets a
        larger share, those it had keep it. Without a user it is chance. Raises InvalidQuery where
        the version wanted is not served.
        """
        served = self._served
        if wanted:
            return served.versions[_place(served, wanted)]
        if not served.bounds:
            return served.versions[0]
        point = random.random() if user_id is None else _point(user_id)
        return served.versions[bisect(served.bounds, point)]

    def describe(self, wanted: str) -> pb.ModelInfo:
        """What GetModelInfo answers. Raises InvalidQuery as `choose` does."""
        served = self._served
        return served.infos[_place(served, wanted) if wanted else -1]

    @property
    def shares(self) -> dict[str, float]:
        """By version, its share of the requests that name none; they add up to 1."""
        weights = self.weights
        total = sum(weights.values())
        return {version: weight / total for version, weight in weights.items()}

    @property
    def queued(self) -> int:
        """How many queries wait for a batch, of all versions."""
        return sum(
            each.batcher.waiting + each.similar.waiting + each.graph.waiting
            for each in self.versions
        )

    async def ready(self) -> bool:
        """Whether a request would be answered now, whichever version it goes to."""
        return all([await version.backend.ready() for version in self.versions])

    async def close(self, patience_s: float | None = None) -> None:
        """Let go of all versions; see `ServedVersion.close`."""
        await asyncio.gather(*(version.close(patience_s) for version in self.versions))


def _serve(versions: Sequence[ServedVersion], weights: Sequence[float]) -> _Served:
    *sums, total = accumulate(weights)
    listed = [
        pb.ServedVersion(version=version.name, weight=weight)
        for version, weight in zip(versions, weights, strict=True)
    ]
    infos = []
    for version in versions:
        info = pb.ModelInfo(versions=listed)
        info.MergeFrom(version.info)
        infos.append(info)
    return _Served(
        tuple(versions),
        {version.name: place for place, version in enumerate(versions)},
        tuple(each / total for each in sums),
        tuple(infos),
    )


def _place(served: _Served, wanted: str) -> int:
    place = served.by_name.get(wanted)
    if place is None:
        names = ", ".join(served.by_name)
        raise InvalidQuery("model_version", f"{wanted[:100]!r} is not served; served is {names}")
    return place


def _point(user_id: int) -> float:
    """Where in 0..1 a user stands: the same in every process, and no matter how ids are given out.

    The first 53 bits of a hash, as many as a float holds.
    """
    digest = blake2b(user_id.to_bytes(8, "little", signed=True), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
