"""TorchServes in a Python that has nothing of this repository, one for each model.

Each start takes two cores 5 to 10 seconds: tests that leave one as they found it share these.
"""

import os
import signal
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.torchserve.server import TorchServe
from tests.running.distributions import closure, lend

# Fixtures that start one, train the larger model, export or read the real ratings.
SLOW = {
    *("torchserve", "personal_torchserve", "victim", "personal", "personal_bundle"),
    *("exported", "bundle_dir", "mar_file", "mal", "personal_dir", "next_dir", "installed"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs one of `SLOW`."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        # What a test is given by name, it asks for itself.
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        named = {each for each in given if isinstance(each, str)}
        if SLOW & {*item.fixturenames, *named}:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with torch, numpy and torchserve, what these need, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    needed = map(Requirement, ("torch", "numpy", "torchserve", "pyyaml"))
    lend(closure(needed), packages)
    return folder / "bin" / "python"


@contextmanager
def _running(archive: Path, python: Path) -> Iterator[TorchServe]:
    with TorchServe(archive, python=python) as server:
        yield server
        os.killpg(server.pid, signal.SIGKILL)  # an orderly end takes seconds, and tests of its own


@pytest.fixture(scope="session")
def torchserve(mar_file: Path, bare_python: Path) -> Iterator[TorchServe]:
    """A TorchServe that serves the .mar of the `seed` preset."""
    with _running(mar_file, bare_python) as server:
        yield server


@pytest.fixture(scope="session")
def personal_torchserve(personal_bundle: Exported, bare_python: Path) -> Iterator[TorchServe]:
    """A TorchServe that serves the .mar of the `personal` preset."""
    with _running(personal_bundle.archive, bare_python) as server:
        yield server


@pytest.fixture(scope="session")
def bundle(bundle_dir: Path) -> Bundle:
    """The bundle that `torchserve` serves."""
    return Bundle.open(bundle_dir)


@pytest.fixture(scope="session")
def onnx_engine(bundle: Bundle) -> Engine:
    return Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))
