"""The toy for tests."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from tests.toy.bundle import write_toy
from tests.toy.world import World


@pytest.fixture(scope="session")
def world() -> World:
    return World.make()


@pytest.fixture(scope="session")
def toy_dir(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model_store/toy/1: history, categories and ties in one small model."""
    folder = tmp_path_factory.mktemp("toy_store") / "toy" / "1"
    write_toy(world, folder)
    return folder


@pytest.fixture(scope="session")
def next_world(world: World) -> World:
    """What a later training found: the same anime and users, and other tastes."""
    return replace(world, taste=-world.taste[::-1].copy(), popularity=-world.popularity)


@pytest.fixture(scope="session")
def next_dir(next_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """toy/2, in a store of its own."""
    folder = tmp_path_factory.mktemp("next_store") / "toy" / "2"
    write_toy(next_world, folder)
    return folder


@pytest.fixture
def store(toy_dir: Path, tmp_path: Path) -> Path:
    """A store of one's own with toy/1."""
    shutil.copytree(toy_dir, tmp_path / "store" / "toy" / "1")
    return tmp_path / "store"


@pytest.fixture(scope="session")
def toy(toy_dir: Path) -> Bundle:
    return Bundle.open(toy_dir)


@pytest.fixture(scope="session")
def graph(toy: Bundle) -> OnnxGraph:
    return OnnxGraph(toy)


@pytest.fixture(scope="session")
def engine(toy: Bundle, graph: OnnxGraph) -> Engine:
    return Engine(toy, GraphScorer(toy, graph))
