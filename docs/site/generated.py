"""The pages of the reference that are made: a line `<!-- made: NAME -->` is replaced."""

import re
from collections.abc import Callable
from typing import Any

import typer
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from typer.cli import get_docs_for_click

from anirank.cli.app import command
from docs.site.sources import ROOT
from handlers.engine.query import Limits
from handlers.facade.protocols.http import openapi
from handlers.facade.protocols.http.app import methods_of
from handlers.facade.protocols.http.kinds import dumped

PROTO = ROOT / "proto/anime/ranking/v1/ranking.proto"
CONTRACT = "reference/contract"  # the page
OPENAPI = "reference/openapi.json"  # beside its page

_MARK = re.compile(r"^<!-- made: (\w+) -->$", re.MULTILINE)
# A service, a message or an enum at the margin, with the comment above it.
_DECLARED = re.compile(
    r"^(?://[^\n]*\n)*(?:message|enum|service) (?P<name>\w+) \{\n.*?^\}$",
    re.MULTILINE | re.DOTALL,
)


def commands() -> str:
    """The help of every command, as Markdown."""
    root = command()
    page = get_docs_for_click(obj=root, ctx=typer.Context(root), name="anirank")
    return page.partition("\n")[2]  # the page has a heading of its own


def contract() -> str:
    """The proto file, a heading for each thing that it declares."""
    source = PROTO.read_text("utf-8")
    found = list(_DECLARED.finditer(source))
    parts = [_fence("proto", source[: found[0].start()])]
    parts += [f"## {each['name']}\n\n{_fence('proto', each[0])}" for each in found]
    return "\n\n".join(parts)


def paths() -> str:
    """The paths of the OpenAPI document as a table."""
    rows = ["| path | does |", "| --- | --- |"]
    for path, verbs in _document()["paths"].items():
        rows += [f"| `{verb.upper()} {path}` | {of['summary']} |" for verb, of in verbs.items()]
    return "\n".join(rows)


def _document() -> dict[str, Any]:
    limits = Limits()
    return openapi.document(methods_of(limits), limits)


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


MADE: dict[str, Callable[[], str]] = {"commands": commands, "contract": contract, "paths": paths}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda mark: MADE[mark[1]](), source[0])


def _message(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """A message of the contract, named by a signature: its heading in the page of the contract."""
    name = re.fullmatch(
        r"(?:pb|anirank\.contract\.ranking_pb2|ranking_pb2)\.(\w+)", node.get("reftarget", "")
    )
    if name is None or node.get("refdomain") != "py":
        return None
    return make_refnode(app.builder, node["refdoc"], CONTRACT, name[1].lower(), shown)


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        (app.outdir / OPENAPI).write_bytes(dumped(_document()))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("missing-reference", _message)
    app.connect("build-finished", _write)
