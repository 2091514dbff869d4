"""The files that a reader of the repository sees."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MADE = {".venv", ".git", "demo", "build", "node_modules"}  # by make, beside what is tracked


def tracked(pattern: str) -> list[Path]:
    """Tracked files whose path matches; all of them where this is no clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not _MADE & set(path.parts)]
    return sorted(path for path in found if path.is_file() and path.match(pattern))
