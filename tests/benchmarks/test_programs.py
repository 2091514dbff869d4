"""Each benchmark is a program that says what it takes."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = [
    ".".join(file.relative_to(BENCHMARKS.parent).with_suffix("").parts)
    for file in sorted(BENCHMARKS.rglob("*.py"))
    if "argparse" in file.read_text("utf-8")
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_what_it_takes(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(program).main()
    assert ended.value.code == 0
    assert "--" in capsys.readouterr().out
