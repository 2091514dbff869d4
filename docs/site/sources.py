"""What pages link to outside `docs/`: each file and each folder as a page of the site.

So a link leads to the very file that the page was written beside, wherever the site is read.
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import relpath
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHOWN_AS = "source"  # the folder of the site
_BEFORE_DOWNLOADS = 400  # Sphinx copies what is linked to at 500

Page = tuple[str, dict[str, Any], str]


def _read(app: Sphinx, document: nodes.document) -> None:
    """Let links to files outside `docs/`, and to folders, lead to the pages made below."""
    page = PurePosixPath(app.env.current_document.docname)
    for link in [
        *document.findall(addnodes.download_reference),
        *document.findall(addnodes.pending_xref),
    ]:
        target = _target(link, page)
        if target is None or (target.is_file() and target.is_relative_to(DOCS)):
            continue
        linked(app).add(target)
        shown = f"{SHOWN_AS}/{target.relative_to(ROOT).as_posix()}.html"
        reference = nodes.reference("", "", internal=True, refuri=relpath(shown, page.parent))
        reference += link.children
        link.replace_self(reference)


def _target(link: nodes.Element, page: PurePosixPath) -> Path | None:
    """The file or folder of the tree that a page's link names; None where it is something else."""
    if link.get("reftype") != "myst":
        return None
    target = (DOCS / page.parent / link["reftarget"]).resolve()
    if link.get("refdomain") == "doc":  # a page, named without its ending
        target = target.with_name(f"{target.name}.md")
    return target if target.exists() and target.is_relative_to(ROOT) else None


def linked(app: Sphinx) -> set[Path]:
    """The files and folders that pages link to."""
    found: set[Path] = app.__dict__.setdefault("anirank_linked", set())
    return found


def _pages(app: Sphinx) -> Iterator[Page]:
    for path in sorted(linked(app)):
        name = path.relative_to(ROOT).as_posix()
        body = _folder(path, linked(app)) if path.is_dir() else _file(path)
        title = f"<h1><code>{escape(name)}</code></h1>"
        yield f"{SHOWN_AS}/{name}", {"title": name, "body": title + body}, "page.html"


def _file(path: Path) -> str:
    shown: str = highlight(path.read_text("utf-8"), _lexer(path), HtmlFormatter())
    return shown


def _lexer(path: Path) -> Lexer:
    found: Lexer
    try:
        found = get_lexer_for_filename(path.name)
    except ClassNotFound:
        found = TextLexer()
    return found


def _folder(path: Path, shown: set[Path]) -> str:
    """What is in a folder, and what each module says of itself; what has a page is a link to it."""
    rows = []
    for each in sorted(path.iterdir()):
        if each.name.startswith((".", "__pycache__")) or each.suffix == ".egg-info":
            continue
        module = each / "__init__.py" if each.is_dir() else each
        said = _first_line(module) if module.suffix == ".py" and module.exists() else ""
        name = f"{each.name}/" if each.is_dir() else each.name
        title = f"<code>{escape(name)}</code>"
        if each in shown:
            title = f'<a href="{path.name}/{each.name}.html">{title}</a>'
        rows.append(f"<tr><td>{title}</td><td>{escape(said)}</td></tr>")
    said = _first_line(path / "__init__.py") if (path / "__init__.py").exists() else ""
    table = f'<table class="docutils"><tbody>{"".join(rows)}</tbody></table>'
    return f'<p>{escape(said)}</p><div class="table-wrapper">{table}</div>'


def _first_line(module: Path) -> str:
    told = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return " ".join(told.partition("\n\n")[0].split())


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("doctree-read", _read, priority=_BEFORE_DOWNLOADS)
    app.connect("html-collect-pages", _pages)
