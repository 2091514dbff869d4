import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The data's way: each folder may use what stands before it. handlers/ has a test of its own.
FORBIDDEN = {"training": {"export", "handlers", "anime"}, "export": {"handlers", "anime"}}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_what_stands_before_it(folder: str) -> None:
    files = list((ROOT / folder).glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & FORBIDDEN[folder], file.name
