"""The container files say what a linter and we ask of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, Image

FILES = sorted(DEPLOY.glob("*Dockerfile"))


def test_the_linter_has_no_word_against_them() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, *FILES], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_of_two_stages_and_runs_as_nobody_in_particular(file: Path) -> None:
    steps = Image.read(file).steps
    stages = [place for place, step in enumerate(steps) if step.startswith("FROM ")]
    assert len(stages) == 2
    last = steps[stages[1] :]
    assert "USER 10001:10001" in last
    assert not any("pip install" in step for step in last)


def test_the_image_of_the_facade_has_no_torch() -> None:
    [install] = [each for each in Image.read(DEPLOY / "Dockerfile").steps if "pip install" in each]
    assert "'.[cpu,signing,tracing]'" in install
    assert "--constraint constraints.txt" in install
