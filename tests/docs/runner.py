"""Runs the marked fences of a page, for Sybil, and compares what they print with what is shown."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import dedent

from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from tests.docs.shown import scores
from tests.docs.tracked import ROOT

# What pages name, and what stands for it here.
FACADE, REST, GRPC = "127.0.0.1:50051", "http://127.0.0.1:8080", "127.0.0.1:7070"
HTTP = "127.0.0.1:8000"
KEYS = "KEY_FILE"
FREE_PORTS = {
    "anirank serve": "--address 127.0.0.1:0",
    "anirank torchserve": "--rest-port 0 --grpc-port 0",
}
SAID = {
    FACADE: re.compile(r" on (\S+),"),
    HTTP: re.compile(r"^HTTP on http://(\S+)$", re.MULTILINE),
    REST: re.compile(r"^REST +(http://[^/]+)/", re.MULTILINE),
    GRPC: re.compile(r"^gRPC +(\S+)$", re.MULTILINE),
    KEYS: re.compile(r"^keys +(\S+)$", re.MULTILINE),
}

MARK = re.compile(r"<!-- (?P<what>run|output)(?:: (?P<how>\w+))? -->\n\Z")
COMMAND_S = 400
COLUMNS = 100  # of the terminal that examples print on


class Runner:
    """Runs marked fences in a folder; knows the servers that they ask."""

    def __init__(
        self, folder: Path, store: Path, opened: ExitStack, shape: Callable[[str], str]
    ) -> None:
        self.folder = folder
        self._store, self._opened, self._shape = store, opened, shape
        self._places: dict[str, str] = {}
        self._printed: str | None = None
        self._python = PythonEvaluator()
        commands = folder / ".bin"
        commands.mkdir()
        for name, options in (("anirank", "-m anirank"), ("python3", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
            (commands / name).chmod(0o755)
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",  # of several tests at once none waits for the others' cores
            "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
            "COLUMNS": str(COLUMNS),
        }

    def __call__(self, document: Document) -> Iterable[Region]:
        """The marked fences of a page, for Sybil."""
        for region in FencedCodeBlockLexer(r"python|sh|text")(document):
            mark = MARK.search(document.text[: region.start])
            if mark is None:
                continue
            region.parsed = region.lexemes["source"]
            language, how = region.lexemes["language"], mark["how"]
            if mark["what"] == "output":
                region.evaluator = self.shown if how is None else self.shown_in_shape
            elif how == "serve":
                region.evaluator = self.serve
            else:
                region.evaluator = self.python if language == "python" else self.sh
            yield region

    def python(self, example: Example) -> None:
        """Run Python in the page's namespace."""
        example.parsed = type(example.parsed)(
            self._placed(str(example.parsed)), example.parsed.offset, example.parsed.line_offset
        )
        with redirect_stdout(StringIO()) as printed:
            self._python(example)
        self._printed = printed.getvalue()

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
        self._printed = done.stdout

    def serve(self, example: Example) -> None:
        """Start a server, in place of the one before."""
        command = str(example.parsed).replace(f"--address {FACADE}", "").strip()
        command = command.replace(f"--http {HTTP}", "--http 127.0.0.1:0")
        self._printed = self._opened.enter_context(self._served(command))

    def shown(self, example: Example) -> None:
        """Compare to the letter."""
        assert str(example.parsed).rstrip() == self._taken(example)

    def shown_in_shape(self, example: Example) -> None:
        """Compare but for what training decides; of what is ranked not all scores are the same."""
        printed = self._taken(example)
        assert self._shape(str(example.parsed)) == self._shape(printed), printed
        assert len(scores(printed)) > 1, f"all scores are the same: {printed}"

    def _taken(self, example: Example) -> str:
        """What was printed last, as on the page: with the addresses that the page names."""
        assert self._printed is not None, f"{example.path}, line {example.line}: of no example"
        printed, self._printed = self._printed, None
        for page, here in self._places.items():
            printed = printed.replace(here, page)
        # A fence's content comes without the indent that all its lines have.
        return dedent("\n".join(line.rstrip() for line in printed.splitlines())).rstrip()

    def _placed(self, text: str) -> str:
        """A page's text with the servers that run here."""
        if FACADE in text and FACADE not in self._places:
            self._opened.enter_context(self._served(f"anirank serve --store {self._store}"))
        for page, here in self._places.items():
            text = text.replace(page, here)
        return text

    @contextmanager
    def _served(self, command: str) -> Iterator[str]:
        """Start a server on free ports; what it says once it answers."""
        [ports] = [options for name, options in FREE_PORTS.items() if command.startswith(name)]
        with subprocess.Popen(
            ["bash", "-c", f"exec {command} {ports}"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                lines = 3 if command.startswith("anirank torchserve") else 1 + ("--http" in command)
                said = "".join(process.stdout.readline() for _ in range(lines))
                found = {page: where.search(said) for page, where in SAID.items()}
                places = {page: match[1] for page, match in found.items() if match}
                assert places, f"{command}: {said}"
                self._places |= places
                yield said
            finally:
                process.terminate()
        assert process.returncode == 0, command
