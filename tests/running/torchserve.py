"""A TorchServe in a Python that has nothing of this repository."""

import shutil
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.onnx_graph import OnnxGraph
from handlers.torchserve.server import TorchServe


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


@pytest.fixture(scope="session")
def torchserve(mar_file: Path, bare_python: Path) -> Iterator[TorchServe]:
    """A TorchServe that serves the .mar, in a Python that has nothing of this repository."""
    with TorchServe(mar_file, python=bare_python) as server:
        yield server


@pytest.fixture(scope="session")
def bundle(bundle_dir: Path) -> Bundle:
    """The bundle that `torchserve` serves."""
    return Bundle.open(bundle_dir)


@pytest.fixture(scope="session")
def onnx_engine(bundle: Bundle) -> Engine:
    return Engine(bundle, OnnxGraph(bundle))
