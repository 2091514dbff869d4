"""The examples of the pages run as they stand.

`<!-- run -->` on the line above a fence runs it, `<!-- run: serve -->` starts its command and keeps
it until the page ends: what follows asks that server. A page's examples run in order, in one folder
that is laid out as the pages assume: data/, run/, model_store/anime/1, model_store/anime.mar, and
demo/store with the same. The port that pages name stands for a free one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from export.bundle import Exported
from tests.docs.tracked import ROOT, tracked
from training.personal.run import PersonalRun
from training.synthesis.dataset import synthesise

ADDRESS = "127.0.0.1:50051"  # in the pages
MARK = re.compile(r"<!-- run(?:: (?P<how>\w+))? -->\n\Z")
COMMAND_S = 400
MAKES_ITS_OWN = {"training.md": ("run", "model_store", "data")}  # what a page makes itself


class Runner:
    """Runs marked fences in a folder; knows the façade that they ask."""

    def __init__(self, folder: Path, store: Path, opened: ExitStack) -> None:
        self.folder = folder
        self._store, self._opened = store, opened
        self._address: str | None = None
        self._python = PythonEvaluator()
        commands = folder / ".bin"
        commands.mkdir()
        (commands / "anirank").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anirank "$@"\n')
        (commands / "anirank").chmod(0o755)
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",  # of several tests at once none waits for the others' cores
            "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
        }

    def __call__(self, document: Document) -> Iterable[Region]:
        """The marked fences of a page, for Sybil."""
        for region in FencedCodeBlockLexer(r"python|sh|")(document):
            mark = MARK.search(document.text[: region.start])
            if mark is None:
                continue
            assert region.lexemes["language"], "a fence that is run names its language"
            region.parsed = region.lexemes["source"]
            if mark["how"] == "serve":
                region.evaluator = self.serve
            else:
                region.evaluator = (
                    self.python if region.lexemes["language"] == "python" else self.sh
                )
            yield region

    def python(self, example: Example) -> None:
        """Run Python in the page's namespace."""
        example.parsed = type(example.parsed)(
            self._placed(str(example.parsed)), example.parsed.offset, example.parsed.line_offset
        )
        self._python(example)

    def sh(self, example: Example) -> None:
        """Run shell commands; the first that fails is a failure."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._placed(str(example.parsed))],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, f"{example.path}, line {example.line}: {done.stderr}"

    def serve(self, example: Example) -> None:
        """Start a server, in place of the one before."""
        command = str(example.parsed).replace(f"--address {ADDRESS}", "").strip()
        self._address = self._opened.enter_context(self._served(command))

    def _placed(self, text: str) -> str:
        """A page's text with the address of the façade that runs here."""
        if ADDRESS not in text:
            return text
        if self._address is None:
            served = self._served(f"anirank serve --store {self._store}")
            self._address = self._opened.enter_context(served)
        return text.replace(ADDRESS, self._address)

    @contextmanager
    def _served(self, command: str) -> Iterator[str]:
        with subprocess.Popen(
            ["bash", "-c", f"exec {command} --address 127.0.0.1:0"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                said = process.stdout.readline()
                found = re.search(r" on (\S+),", said)
                assert found is not None, f"{command}: {said}"
                yield found[1]
            finally:
                process.terminate()
        assert process.returncode == 0, command


@pytest.fixture
def workspace(
    synthetic: Path, personal: PersonalRun, personal_bundle: Exported, tmp_path: Path
) -> Path:
    """A folder as the pages assume it."""
    folder = tmp_path / "workspace"
    shutil.copytree(synthetic, folder / "data")
    shutil.copytree(personal.folder, folder / "run")
    for store in ("model_store", "demo/store"):
        shutil.copytree(personal_bundle.archive.parent, folder / store)
    return folder


MARKED = re.compile(r"^<!-- run.*-->$", re.MULTILINE)
PAGES = [page for page in tracked("*.md") if MARKED.search(page.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_examples_of_a_page_run(
    page: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MAKES_ITS_OWN.get(page.name, ()):
        shutil.rmtree(workspace / name)
    if not (
        workspace / "data"
    ).exists():  # smaller than what else the tests share: it is trained on
        synthesise(workspace / "data", users=80, anime=60, ratings=1_500, seed=0)
    monkeypatch.chdir(workspace)
    with ExitStack() as opened:
        runner = Runner(workspace, workspace / "model_store", opened)
        examples = list(Document.parse(str(page), runner))
        assert examples
        for example in examples:
            example.evaluate()


def test_a_mark_stands_right_above_a_fence() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        marks = MARKED.findall(text)
        above = re.findall(r"^<!-- run(?:: serve)? -->\n```(?:python|sh)\n", text, re.MULTILINE)
        assert len(marks) == len(above), page.name
