"""Every link in a page leads somewhere; every figure is small, and shown or linked by a page."""

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.tracked import ROOT, tracked

LARGEST_README = 9_000  # bytes: two minutes
LARGEST_FIGURE = 300_000  # bytes
PAGES = tracked("*.md")
FIGURES = [path for path in tracked("docs/figures/*") if path.suffix not in (".md", ".py")]

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def inline(page: Path) -> list[Token]:
    tokens = _MARKDOWN.parse(page.read_text("utf-8"))
    return [child for token in tokens for child in token.children or ()]


def links(page: Path) -> list[str]:
    """What a page links to or shows, less what is outside the repository."""
    found = [str(t.attrs["href"]) for t in inline(page) if t.type == "link_open"]
    found += [str(t.attrs["src"]) for t in inline(page) if t.type == "image"]
    return [unquote(link) for link in found if not _OUTSIDE.match(link)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: dict[str, int] = {}
    tokens = _MARKDOWN.parse(page.read_text("utf-8"))
    for opening, heading in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = "".join(
            t.content for t in heading.children or () if t.type in ("text", "code_inline")
        )
        slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def named(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=named(PAGES))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("figure", FIGURES, ids=named(FIGURES))
def test_a_figure_is_small_and_a_page_names_it(figure: Path) -> None:
    assert figure.stat().st_size < LARGEST_FIGURE
    targets = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)
    }
    assert figure in targets


def test_the_readme_is_read_in_two_minutes() -> None:
    assert (ROOT / "README.md").stat().st_size <= LARGEST_README


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent} - {index} <= listed


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One answer, `everywhere`!\n\n## Twice\n\n## Twice\n")
    assert anchors(page) == {"one-answer-everywhere", "twice", "twice-1"}
