import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serving(store: Path, *options: str | Path) -> Iterator[str]:
    """HOST:PORT of a façade as a user starts it."""
    command = [sys.executable, "-m", "anirank", "serve", "--store", store, *options]
    command = [str(word) for word in (*command, "--address", "127.0.0.1:0")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split(" on ")[1].split(",")[0]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def facade(bundle_dir: Path) -> Iterator[str]:
    with serving(bundle_dir.parents[1]) as address:
        yield address
