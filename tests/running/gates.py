"""What holds computing back, so that a test sees what waits."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import grpc
import pytest

from anirank.client.sync import Client
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import Overloaded
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Limits, Query
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.methods import RankingService
from handlers.facade.versions.roster import Roster, ServedVersion


class Held:
    """A graph that computes nothing while it is held: `arrived` says that a batch waits at it."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph, self.name, self.cells = graph, graph.name, graph.cells
        self.arrived, self.free = threading.Event(), threading.Event()

    def run(self, inputs: Any) -> Any:
        self.arrived.set()
        assert self.free.wait(60)
        return self.graph.run(inputs)


@pytest.fixture
def held(graph: OnnxGraph) -> Iterator[Held]:
    held = Held(graph)
    yield held
    held.free.set()


@pytest.fixture
def full(serve: Any, toy: Bundle, held: Any) -> Iterator[str]:
    """A façade with no room for another request, until `held` is free."""
    computes = EmbeddedBackend(Engine(toy, GraphScorer(toy, held)))
    address = serve(backend=lambda: computes, limits=Limits(queued=1))

    def ask() -> Any:
        with Client(address, timeout_s=120.0, retries=0) as client:
            return client.rank([3])

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(ask)
        assert held.arrived.wait(60)
        others = {threads.submit(ask) for _ in range(3)}
        for _ in range(2):  # one waits for the first, and two are refused
            done, others = wait(others, 60, FIRST_COMPLETED)
            assert all(isinstance(each.exception(), Overloaded) for each in done)
            if len(others) == 1:
                break
        yield address
        held.free.set()
        for each in (first, *others):
            each.result(60)


class Gate:
    """A real backend behind a gate that the test opens; notes the batches that come, with times."""

    name = "gate"

    def __init__(self, engine: Engine, largest_batch: int = 4_000, in_flight: int = 1) -> None:
        self.largest_batch, self.in_flight = largest_batch, in_flight
        self.backend, self.open = EmbeddedBackend(engine), asyncio.Event()
        self.batches: list[list[Query]] = []
        self.timeouts: list[float | None] = []

    async def rank(self, queries: list[Query], timeout_s: float | None = None) -> list[Any]:
        self.batches.append(queries)
        self.timeouts.append(timeout_s)
        await self.open.wait()
        return await self.backend.rank(queries, timeout_s)

    def is_quick(self, query: Query) -> bool:
        return False

    def rank_now(self, query: Query) -> Any:
        raise AssertionError("a gate holds all that comes")

    async def ready(self) -> bool:
        return self.open.is_set()

    async def close(self) -> None:
        await self.backend.close()


class Gated:
    """A service on a port of this loop, the gate that it computes behind, and a stub to call it."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.gate = Gate(engine)
        self.version = ServedVersion(engine.bundle, self.gate, limits)
        self.service = RankingService(Roster(self.version), limits)
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.channel = grpc.aio.insecure_channel(self.address)
        self.stub = RankingServiceStub(self.channel)

    @property
    def arrived(self) -> int:
        """How many queries have come to the gate."""
        return sum(map(len, self.gate.batches))

    async def until_at_the_gate(self) -> None:
        """Wait for a first batch, and a little for what should wait behind it."""
        while not self.gate.batches:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    async def until_streams_ended(self) -> None:
        while any("Stream._" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)


@pytest.fixture
def gate() -> type[Gate]:
    return Gate


@pytest.fixture
def gated(engine: Engine) -> Callable[..., Any]:
    """Runs an async check of a `Gated`: gated(check, limits)."""

    async def run(check: Callable[[Gated], Any], limits: Limits) -> Any:
        here = Gated(engine, limits)
        await here.server.start()
        try:
            return await check(here)
        finally:
            here.gate.open.set()
            await here.channel.close()
            await here.server.stop(None)
            await here.gate.close()

    return lambda check, limits: asyncio.run(run(check, limits))
