"""Docstrings as the code writes them, made into what Sphinx reads.

In the code a paragraph that is Python is an example, and `name: …` says what an argument or a field
is. What has no docstring is a warning, and so an error of `make docs`.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

from anirank import errors

_ERRORS = [
    name
    for name, of in vars(errors).items()
    if inspect.isclass(of) and issubclass(of, errors.AnirankError)
]
_ERROR = re.compile(rf"(?<![`\w.])(?:{'|'.join(_ERRORS)})(?![`\w])")
# Names that begin a sentence or stand after a semicolon; other sentences begin with a capital.
_TERM = re.compile(r"(?:^|(?<=[.;] ))([a-z_]+(?:, [a-z_]+)*): ")
# What numpy makes of NDArray, and dataclasses of a default that a function makes.
_ARRAY = re.compile(
    r"~?numpy\.ndarray\[tuple\[(?:~?typing\.)?Any, \.\.\.\], ~?numpy\.dtype\[(~?[\w.]+)\]\]"
)
_FACTORY = "<factory>"
_log = logging.getLogger(__name__)


def sections(docstring: str) -> Iterator[str]:
    """The paragraphs of a docstring as reStructuredText."""
    for paragraph in re.split(r"\n\s*\n", docstring.strip("\n")):
        if paragraph.startswith("    "):
            yield f".. code-block:: text\n\n{paragraph}"
        elif _is_example(paragraph):
            lines = "\n".join(f"    {line}" for line in paragraph.splitlines())
            yield f".. code-block:: python\n\n{lines}"
        else:
            yield from _prose(" ".join(paragraph.split()))


def _is_example(paragraph: str) -> bool:
    try:
        parsed = ast.parse(paragraph)
    except SyntaxError:
        return False
    return not all(
        isinstance(each, ast.Expr) and isinstance(each.value, ast.Name | ast.Constant)
        for each in parsed.body
    )


def _prose(text: str) -> Iterator[str]:
    """A paragraph: what stands before the names it explains, and each of these as a term."""
    found = list(_TERM.finditer(text))
    ends = [each.start() for each in found] + [len(text)]
    if before := text[: ends[0]].strip():
        yield _linked(before)
    for each, end in zip(found, ends[1:], strict=True):
        said, raises, rest = text[each.end() : end].strip(" ;").partition("Raises ")
        shown = ", ".join(f"``{name}``" for name in each[1].split(", "))
        yield f"{shown}\n    {_linked(said.strip())}"
        if raises:
            yield _linked(f"Raises {rest}")


def _linked(text: str) -> str:
    """Prose in which the names of errors are links."""
    escaped = text.replace("*", r"\*")
    return _ERROR.sub(lambda name: f":py:exc:`~anirank.errors.{name[0]}`", escaped)


def _process(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    if not any(lines) and what != "attribute":
        _log.warning("%s has no docstring", name)
    lines[:] = [*"\n\n".join(sections("\n".join(lines))).splitlines(), ""]


def _skip(app: Sphinx, what: str, name: str, of: Any, skip: bool, options: Any) -> bool | None:
    # The fields of named tuples say nothing but their number.
    return True if type(of).__name__ == "_tuplegetter" else None


def _readable(
    app: Sphinx, what: str, name: str, of: Any, options: Any, arguments: str, answer: str | None
) -> tuple[str | None, str | None]:
    return _shortened(arguments), _shortened(answer)


def _shortened(signature: str | None) -> str | None:
    """A signature with arrays as the code names them, and nothing in it that is not Python."""
    if signature is None:
        return None
    return _ARRAY.sub(r"NDArray[\1]", signature).replace(_FACTORY, "...")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _readable)
    app.connect("autodoc-skip-member", _skip)
