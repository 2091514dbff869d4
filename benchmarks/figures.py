"""Where figures are written: into the documents, or out of their way where a run was a try."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundles import files

FOLDER = Path("docs/figures")  # tracked: a file of it stays below 300 kB
QUICK_FOLDER = Path("build/figures")  # not tracked


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write figures as JSON, a value a line, so that two runs can be told apart by a diff."""
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(file, content, indent=1)
