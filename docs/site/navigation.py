"""The site's navigation: what `docs/README.md` lists, under its own headings.

A page that it does not list is a warning of Sphinx, and so an error of `make docs`.
"""

import re
import shutil
from itertools import pairwise

from sphinx.application import Sphinx

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"^\| \[[^\]]+\]\(([\w/-]+)\.md\)", re.MULTILINE)


def with_contents(index: str) -> str:
    """The index with a hidden table of contents of each of its headings."""
    headings = list(_HEADING.finditer(index))
    ends = [heading.start() for heading in headings] + [len(index)]
    trees = []
    for heading, (start, end) in zip(headings, pairwise(ends), strict=True):
        if pages := _PAGE.findall(index[start:end]):
            options = [":hidden:", ":titlesonly:", f":caption: {heading[1]}", ""]
            trees.append("\n".join(["```{toctree}", *options, *pages, "```"]))
    return "\n\n".join([index.rstrip(), *trees]) + "\n"


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    if page == app.config.root_doc:
        source[0] = with_contents(source[0])
    elif page.startswith("figures/"):  # made by a benchmark; the page on that links to it
        source[0] = f"---\norphan: true\n---\n{source[0]}"


def _open_with_the_index(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        shutil.copyfile(app.outdir / f"{app.config.root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("build-finished", _open_with_the_index)
