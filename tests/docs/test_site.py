"""The site that `make docs` builds: whole, of its own files alone, and with the public names."""

import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import anirank
from tests.docs.tracked import ROOT

pytest.importorskip("sphinx", reason="the extra docs is not installed")
pytest.importorskip("furo", reason="the extra docs is not installed")

pytestmark = pytest.mark.slow

# What loads as soon as a page is opened.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if LOADED.get(tag, "") in given:
            self.loaded.append(given[LOADED[tag]])


@cache
def page(path: Path) -> Page:
    return Page(path)


def built(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fresh-env", "--fail-on-warning"]
    return subprocess.run(
        [*command, "--conf-dir", str(ROOT / "docs"), str(source), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = built(ROOT / "docs", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_link_and_every_file_of_the_site_is_there(site: Path, pages: list[Path]) -> None:
    assert site / "index.html" in pages
    for path in pages:
        for link in page(path).links + page(path).loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            assert target.is_relative_to(site), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html":
                anchors = page(target).anchors
                assert unquote(parts.fragment) in anchors, f"{path.relative_to(site)}: {link}"


def test_a_page_loads_nothing_from_elsewhere(site: Path, pages: list[Path]) -> None:
    for path in pages:
        for link in page(path).loaded:
            parts = urlsplit(link)
            assert parts.scheme in ("", "data"), f"{path.relative_to(site)}: {link}"
            assert not parts.netloc, f"{path.relative_to(site)}: {link}"
    for style in site.rglob("*.css"):
        assert "@import" not in style.read_text("utf-8"), style
        assert "url(http" not in style.read_text("utf-8").replace("'", "").replace('"', ""), style
        assert "url(//" not in style.read_text("utf-8").replace("'", "").replace('"', ""), style


def test_the_search_finds_a_word_of_a_page_without_a_server(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf-8")
    assert index.startswith("Search.setIndex(")  # a script: read from a file as from a server
    assert "diversity" in index
    assert "searchindex.js" in "".join(page(site / "search.html").loaded)


@pytest.mark.parametrize("name", anirank.__all__)
def test_a_public_name_is_in_the_reference(site: Path, name: str) -> None:
    assert f"anirank.{name}" in page(site / "reference/python.html").anchors


def test_every_error_and_every_command_is_in_the_reference(site: Path) -> None:
    from anirank import errors
    from anirank.cli.app import command

    raised = {
        f"anirank.errors.{name}"
        for name, of in vars(errors).items()
        if isinstance(of, type) and issubclass(of, errors.AnirankError)
    }
    assert raised <= page(site / "reference/errors.html").anchors
    commands = {f"anirank-{name}" for name in command().commands}
    assert commands <= page(site / "reference/command-line.html").anchors


def test_every_message_of_the_contract_is_in_the_reference(site: Path) -> None:
    from anirank.contract import ranking_pb2 as pb

    declared = {*pb.DESCRIPTOR.message_types_by_name, *pb.DESCRIPTOR.enum_types_by_name}
    anchors = page(site / "reference/contract.html").anchors
    assert {name.lower() for name in declared | {"RankingService"}} <= anchors


def test_what_leads_nowhere_or_is_not_said_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    pages = {
        "README.md": "# Index\n\n## All\n\n| page | |\n| --- | --- |\n| [b](b.md) | |\n",
        "b.md": "# B\n\n[one](nowhere.md), [two](README.md#nowhere), ![three](nowhere.png)\n",
        "reference/unlisted.md": "# A page that the index does not list\n\n"
        "```{eval-rst}\n"
        ".. py:function:: f(x: anirank.Nobody)\n"
        ".. autofunction:: handlers.engine.query._no_ids\n"
        "```\n",
    }
    for name, text in pages.items():
        (tmp_path / name).write_text(text, "utf-8")
    done = built(tmp_path, tmp_path / "built")
    assert done.returncode != 0
    for said in (
        "b.md:3: WARNING: 'myst' cross-reference target not found: 'nowhere.md'",
        "b.md:3: WARNING: local id not found in doc 'README': 'nowhere'",
        "b.md:3: WARNING: image file not readable: nowhere.png",
        "unlisted.md: WARNING: document isn't included in any toctree",
        "WARNING: py:class reference target not found: anirank.Nobody",
        "handlers.engine.query._no_ids has no docstring",
    ):
        assert said in done.stderr
