"""`anirank serve` as a program of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Facade(NamedTuple):
    """A façade in a process of its own."""

    address: str
    pid: int


Serving = Callable[..., AbstractContextManager[Facade]]


def line_of(process: "subprocess.Popen[str]") -> str:
    """The next line that a program writes."""
    assert process.stdout is not None
    return process.stdout.readline()


@contextmanager
def run_serve(
    store: Path, *options: Any, program: Sequence[Any] = ("-m", "anirank")
) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """`anirank serve` of toy: the process, its address, and what it said; it must end with 0."""
    command = [sys.executable, *program, "serve", "--store", store, "--name", "toy"]
    command += ["--address", "127.0.0.1:0", *options]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = line_of(process)
            found = re.search(r" on (\S+),", said)
            assert found is not None, process.communicate(timeout=60)
            yield process, found[1], said
            process.terminate()
            assert process.wait(60) == 0
        except BaseException:
            process.kill()
            raise


@contextmanager
def _serving(store: Path, log: Path, *options: str | Path, **environment: str) -> Iterator[Facade]:
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", *map(str, options)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | environment,
        ) as process,
    ):
        try:
            found = re.search(r" on (\S+),", line_of(process))
            assert found is not None, log.read_text()
            yield Facade(found[1], process.pid)
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=30)
            with log.open("a") as file:
                file.write(said)
            assert process.returncode == 0


@pytest.fixture(scope="session")
def serving(toy_dir: Path) -> Serving:
    """`anirank serve` of the toy: serving(log, *options) as façade; it ends with exit code 0."""
    return partial(_serving, toy_dir.parents[1])
