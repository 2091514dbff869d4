"""Pythons of their own for the peers, made once and kept."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_S = 600.0


class NotInstalled(Exception):  # noqa: N818 - named as the other faults of a system are
    """A package that could not be had; the message is one line."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of pinned packages."""

    name: str
    packages: tuple[str, ...]

    def python(self, cache: Path) -> Path:
        """Its interpreter, in a folder under `cache`; installs what is missing.

        Raises NotInstalled where pip does.
        """
        # Other packages, or another Python, are another environment.
        text = "\n".join((sys.version, *self.packages))
        folder = cache / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        python, done = folder / "bin" / "python", folder / "installed"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            self._run(sys.executable, "-m", "venv", str(folder))
            self._run(str(python), *["-m", "pip", "install", "--quiet"], *self.packages)
            done.touch()
        return python

    def _run(self, *command: str) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotInstalled(f"{self.name}: {error}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
            raise NotInstalled(f"{self.name}: {said[-1][:300]}")


def default_cache() -> Path:
    """Where environments are kept: the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "anirank" / "peers"
