"""The examples of the pages run as they stand, and print what the pages show.

`<!-- run -->` on the line above a fence runs it, `<!-- run: serve -->` starts its command and keeps
it until the page ends: what follows asks that server. `<!-- output -->` above the next fence shows
what the example prints ([how it is compared](shown.py)). A page's examples run in order, in one
folder as the pages assume it: data/, run/, model_store/anime/1, model_store/anime.mar, and demo/
with the same, all of the demo's data. The ports that pages name stand for free ones.
"""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from rich.console import Console
from sybil import Document

from export.bundle import export
from tests.docs.runner import Runner
from tests.docs.shown import shaper
from tests.docs.tracked import ROOT, tracked
from training.loop.progress import Progress
from training.personal.run import PersonalRun
from training.personal.settings import PERSONAL
from training.personal.trainer import PersonalTrainer
from training.synthesis.anime import GENRES
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare

EPOCHS = 4  # of the 24 of the demo's training, on which only figures depend
MAKES_ITS_OWN = {"training.md": ("run", "model_store", "data")}  # what a page makes itself

# Every example of a page that is not run, by its first line, and why.
NOT_RUN = {
    (
        "README.md",
        "make demo",
    ): "makes an environment, and runs the tests; the demo's end runs below",
    ("clients/python/README.md", "from pathlib import Path"): (
        "names a cluster's address; tests/clients/test_python.py calls a façade"
    ),
    ("docs/embedding.md", "make node"): "downloads; tests/examples runs what it makes",
    ("docs/bundle-format.md", "openssl dgst -sha256 -verify public.pem"): (
        "runs in docs/security.md, where the keys are made"
    ),
    ("docs/benchmarks.md", "anirank synth full"): (
        "takes half an hour of two cores; the same on small data in docs/training.md"
    ),
    ("docs/http.md", "import numpy as np"): (
        "gevent, under Triton's client, changes the process that it runs in; "
        "tests/handlers/facade/protocols/inference runs it in another"
    ),
    ("docs/models.md", "anirank train ../shared/data/mal run"): (
        "real ratings, which are not ours to hand on; the same on other data in docs/training.md"
    ),
    ("docs/models.md", "python -m benchmarks.training.peers.compare run0"): (
        "real ratings, and minutes; tests/benchmarks/training compares another peer on other data"
    ),
    ("docs/similar.md", "python -m benchmarks.training.similar run0"): (
        "real ratings, and minutes; tests/benchmarks/training runs it on other data"
    ),
    ("docs/security.md", "anirank serve --address 0.0.0.0:50051"): (
        "opens this machine to others, and HOST is another one; tests/handlers/security has the "
        "options on loopback"
    ),
    ("docs/training.md", "pip install kaggle"): "downloads, and needs an account",
    ("docs/training.md", "torchrun --standalone"): (
        "tests/training/loop/test_ranks.py runs it, and compares what it makes"
    ),
    ("docs/training.md", "torchrun --nnodes 2"): (
        "needs two machines; tests/training/loop/test_ranks.py runs it with two launchers on one"
    ),
    ("docs/web.md", "make web "): "takes packages from npm; tests/web opens what it builds",
    ("docs/web.md", "anirank serve --store model_store"): (
        "shows what make web builds; tests/handlers/facade/protocols/http shows another folder"
    ),
    ("docs/web.md", "make web-picture"): "measures what make web builds, in Chromium",
    ("model_store/README.md", "mkdir -p tmp"): (
        "takes ports of the whole machine; tests/handlers/torchserve starts the same with free ones"
    ),
    ("model_store/README.md", "curl http://127.0.0.1:8080/predictions/NAME"): (
        "asks the one before; docs/serving.md asks one with free ports"
    ),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` leaves: data, run and store."""
    folder = tmp_path_factory.mktemp("demo")
    synthesise(folder / "data")
    tables = prepare(folder / "data")
    settings = PERSONAL.resolved(epochs=EPOCHS)
    run = PersonalRun.create(folder / "run", settings, tables)
    with Progress(Console(quiet=True), EPOCHS) as progress:
        assert PersonalTrainer(run, tables, torch.device("cpu")).fit(progress)
    export(run, folder / "store", "anime", "1")
    return folder


@pytest.fixture(scope="module")
def shape(demo: Path) -> Callable[[str], str]:
    """What makes the shape of an output: which names and ids may stand for each other."""
    tables = prepare(demo / "data")
    ids = {*tables.anime["anime_id"].tolist(), *tables.users["user_id"].tolist()}
    return shaper([*tables.anime["name"], *GENRES], ids)


@pytest.fixture
def workspace(demo: Path, tmp_path: Path) -> Path:
    """A folder as the pages assume it."""
    folder = tmp_path / "workspace"
    shutil.copytree(demo, folder / "demo")
    for name in ("data", "run"):
        shutil.copytree(demo / name, folder / name)
    shutil.copytree(demo / "store", folder / "model_store")
    return folder


@pytest.mark.slow
def test_make_demo_ends_with_two_lists_and_leaves_no_server_behind(workspace: Path) -> None:
    shim, installed = workspace / ".venv/bin/anirank", workspace / ".venv/installed"
    shim.parent.mkdir(parents=True)
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anirank "$@"\n')
    shim.chmod(0o755)
    made = ["data/users-score-2023.csv", "run/evaluation.json", "store/anime/1/manifest.json"]
    for file in (installed, *(workspace / "demo" / name for name in made)):
        file.touch()  # each newer than what it is made of: nothing is made again
    command = ["make", "demo", f"VENV={workspace / '.venv'}", f"DEMO={workspace / 'demo'}"]
    log = workspace / "demo/facade.log"
    log.write_text("anime 1 on 127.0.0.1:9, of a demo before\n")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    one, other = done.stdout.split("user 366396: known")[1].split("user 1202590: known")
    assert "because you rated" in one
    assert "because you rated" in other
    assert not set(re.findall(r"│ +\d+ │ +(\d+) │", one)) & set(
        re.findall(r"│ +\d+ │ +(\d+) │", other)
    )
    host, _, port = log.read_text().split(" on ")[1].split(",")[0].rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


FENCES = [
    (page, fence)
    for page in tracked("*.md")
    for fence in MarkdownIt("commonmark").parse(page.read_text("utf-8"))
    if fence.type == "fence"
]
MARKED = re.compile(r"^<!-- (?:run|output).*-->$", re.MULTILINE)
PAGES = [page for page in tracked("*.md") if MARKED.search(page.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_examples_of_a_page_run_and_print_what_it_shows(
    page: Path, workspace: Path, shape: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MAKES_ITS_OWN.get(page.name, ()):
        shutil.rmtree(workspace / name)
    if not (workspace / "data").exists():  # smaller than the demo's: it is trained on
        synthesise(workspace / "data", users=80, anime=60, ratings=1_500, seed=0)
    monkeypatch.chdir(workspace)
    with ExitStack() as opened:
        runner = Runner(workspace, workspace / "model_store", opened, shape)
        examples = list(Document.parse(str(page), runner))
        assert examples
        for example in examples:
            example.evaluate()


def test_an_example_that_is_not_run_has_a_reason() -> None:
    unmarked = []
    for page, fence in FENCES:
        assert fence.info, f"{page.name}: a fence names its language: {fence.content}"
        before = page.read_text("utf-8").splitlines()[: (fence.map or [0])[0]]
        if fence.info in ("python", "sh") and not (before and MARKED.match(before[-1])):
            unmarked.append((page.relative_to(ROOT).as_posix(), fence.content))
    for path, content in unmarked:
        assert any(path == p and content.startswith(first) for p, first in NOT_RUN), content
    assert len(unmarked) == len(NOT_RUN)


def test_python_that_prints_is_followed_by_what_it_prints() -> None:
    for page, fence in FENCES:
        if fence.info == "python" and "print(" in fence.content:
            after = page.read_text("utf-8").splitlines()[(fence.map or [0, 0])[1] :]
            assert re.match(r"<!-- output(: shape)? -->$", "\n".join(after[1:2])), fence.content


def test_a_mark_stands_right_above_a_fence() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        marks = MARKED.findall(text)
        above = re.findall(
            r"^<!-- (?:run(?:: serve)? -->\n```(?:python|sh)|output(?:: shape)? -->\n```text)\n",
            text,
            re.MULTILINE,
        )
        assert len(marks) == len(above), page.name
