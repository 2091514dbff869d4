"""TorchServes in a Python that has nothing of this repository, one for each model.

Each start takes two cores 5 to 10 seconds: tests that leave one as they found it share these.
"""

import os
import shutil
import signal
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.engine.engine import Engine
from handlers.engine.onnx_graph import OnnxGraph
from handlers.torchserve.server import TorchServe

# For all that tests start: a Java that compiles once starts a quarter sooner.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

# Fixtures that start one, train the larger model, export or read the real ratings.
SLOW = {
    *("torchserve", "personal_torchserve", "victim", "personal", "personal_bundle"),
    *("exported", "bundle_dir", "mar_file", "mal", "personal_dir", "next_dir"),
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
    for installed in _closure({"torch", "numpy", "torchserve", "pyyaml"}):
        tops = {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            source = Path(str(installed.locate_file(top)))
            if top == "ts":  # TorchServe follows links to find its home, and would find ours
                shutil.copytree(source, packages / top)
            elif not (packages / top).exists():
                (packages / top).symlink_to(source)
    return folder / "bin" / "python"


def _closure(names: set[str]) -> list[Distribution]:
    """The distributions of these names and of all they require here."""
    found: dict[str, Distribution] = {}
    while names:
        name = names.pop()
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        required = [Requirement(line) for line in found[name].requires or ()]
        wanted = [r for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
        names |= {r.name.lower() for r in wanted} - found.keys()
    return list(found.values())


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
    return Engine(bundle, OnnxGraph(bundle))
