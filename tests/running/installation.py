"""What a user has who installed the wheel: environments of their own, away from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from tests.docs.tracked import ROOT, tracked
from tests.running.distributions import closure, lend, required

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_NOTHING_ELSE = ("--no-deps", "--no-index")


class Installation:
    """An environment with the wheel and with what some of its extras require, and nothing else.

    packages: its site-packages. elsewhere: an empty folder, in which programs run unless a test
    says another. environment: the variables that programs run with, none of which leads back to
    the checkout.
    """

    def __init__(
        self, folder: Path, wheel: Path, extras: tuple[str, ...], name: str = "anirank"
    ) -> None:
        """Make it in `folder`, of packages that are installed here, without a network."""
        venv.create(folder, symlinks=True)
        self.packages = next(folder.glob("lib/python*/site-packages"))
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self._programs = folder / "bin"
        python = str(self._programs / "python")
        subprocess.run([*_PIP, "--python", python, "install", *_NOTHING_ELSE, wheel], check=True)
        [ours] = distributions(name=name, path=[str(self.packages)])
        lend(closure(required(ours, extras)), self.packages)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ANIRANK"))}
        path = os.pathsep.join((str(self._programs), os.environ["PATH"]))
        self.environment = {**kept, "PATH": path, "VIRTUAL_ENV": str(folder)}

    def python(self, *arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run its Python to the end; options: those of `subprocess.run`, such as `cwd`."""
        return self._run(self.command("python", *arguments), options)

    def anirank(self, *arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run its `anirank` likewise."""
        return self._run(self.command("anirank", *arguments), options)

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """The line that starts one of its programs, for what is not run to its end."""
        return [str(self._programs / program), *map(str, arguments)]

    def _run(
        self, command: list[str], options: dict[str, Any]
    ) -> "subprocess.CompletedProcess[str]":
        defaults = {"cwd": self.elsewhere, "env": self.environment, "timeout": 120}
        return subprocess.run(command, capture_output=True, text=True, **{**defaults, **options})


Installed = Callable[..., Installation]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    return build(tmp_path_factory.mktemp("wheel"), "")


def build(folder: Path, project: str) -> Path:
    """The wheel of a project of the checkout, built of a copy, as a build leaves folders behind."""
    copy = folder / "copy"
    for file in tracked("*"):
        target = copy / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    command = [*_PIP, "wheel", *_NOTHING_ELSE, "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, folder, copy / project], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Gives the environment of some extras: installed("cpu", "signing"), or installed() of none."""
    made: dict[frozenset[str], Installation] = {}

    def of(*extras: str) -> Installation:
        if frozenset(extras) not in made:
            made[frozenset(extras)] = Installation(
                tmp_path_factory.mktemp("installed"), wheel, extras
            )
        return made[frozenset(extras)]

    return of
