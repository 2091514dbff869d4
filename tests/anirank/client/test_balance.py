"""Of several servers behind one name all are called, by both clients."""

import asyncio
from collections import Counter

import pytest

from anirank.client.aio import AsyncClient
from anirank.client.sync import Client
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph

CALLS = 40


@pytest.fixture
def both(serve, next_dir) -> str:
    """An address of two façades, which tell themselves apart by the version they serve."""
    second = Bundle.open(next_dir)
    engine = Engine(second, GraphScorer(second, OnnxGraph(second)))
    return f"ipv4:{serve()},{serve(bundle=second, engine=engine)}"


def ask_sync(address: str) -> Counter[str]:
    with Client(address) as client:
        return Counter(client.recommend(top_k=1).model_version for _ in range(CALLS))


def ask_aio(address: str) -> Counter[str]:
    async def run() -> Counter[str]:
        async with AsyncClient(address) as client:
            return Counter([(await client.recommend(top_k=1)).model_version for _ in range(CALLS)])

    return asyncio.run(run())


@pytest.mark.parametrize("ask", [ask_sync, ask_aio], ids=["sync", "asyncio"])
def test_calls_go_to_all_servers_of_a_name_in_turn(both: str, ask) -> None:
    heard = ask(both)
    assert set(heard) == {"1", "2"}
    # All go to the one that is there first, until the other is.
    assert min(heard.values()) > CALLS / 4
