"""The rooms of the benchmarks: which may import from which, and that each program starts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(BENCHMARKS.rglob("*.py"))
# A room may import from those before it; what stands at the top serves all.
SERVING_ORDER = ["load", "systems", "serving"]
TOP = {"figures", "machine", "plots"}
PROGRAMS = [
    f"benchmarks.{file.parent.name}.{file.stem}"
    for file in FILES
    if file.parent.name in ("serving", "training") and "argparse" in file.read_text("utf-8")
]


def rooms_used(file: Path) -> set[str]:
    """The first names below `benchmarks` that a module imports when it is imported."""
    found = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole way"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("benchmarks.")}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(BENCHMARKS)))
def test_a_room_imports_only_from_rooms_before_it(file: Path) -> None:
    room = file.relative_to(BENCHMARKS).parts[0]
    if room in SERVING_ORDER:
        allowed = TOP | set(SERVING_ORDER[: SERVING_ORDER.index(room) + 1])
    else:
        allowed = TOP | ({room} if (BENCHMARKS / room).is_dir() else set())
    assert rooms_used(file) <= allowed


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_what_it_takes(program: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", program, "--help"], capture_output=True, text=True, timeout=120
    )
    assert said.returncode == 0, said.stderr
    assert "--" in said.stdout
