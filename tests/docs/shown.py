"""What a page shows of an example's output, beside what the example printed.

Under `<!-- output -->` it is compared to the letter. Under `<!-- output: shape -->` it is the
demo's real output, of which what a training decides may be another here: names of anime and of
genres, ids, and numbers with a point. In a table only the headings, the number of rows and which
cells are numbers are compared; indented lines that are alike count as one.
"""

import re
from collections.abc import Callable, Iterable

NAME, ID, DECIMAL = "<name>", "<id>", "<decimal>"

_DECIMAL = re.compile(r"[+-]?\d+\.\d*(?:e[+-]?\d+)?")
_CELLS = re.compile(r"[│┃]")
_RULES = re.compile(r"[\s┏┳┓┡╇┩└┴┘━─┴┼]*")


def shaper(names: Iterable[str], ids: Iterable[int]) -> Callable[[str], str]:
    """What makes a text's shape, where these are the names and ids that training may choose of."""
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    named, known = re.compile("|".join(longest_first)), set(ids)

    def line_shape(line: str) -> str:
        indent = line[: len(line) - len(line.lstrip())]
        line = named.sub(NAME, line).replace('"', "'")  # Python quotes a name as it has to
        line = _DECIMAL.sub(DECIMAL, line)
        line = re.sub(
            r"(?<![\w<])-?\d+\b", lambda found: ID if int(found[0]) in known else found[0], line
        )
        line = re.sub(r"(?<=\[) | (?=\])", "", " ".join(line.split()))
        return indent + re.sub(f"{NAME}(, {NAME})+", NAME, line)

    def shape(text: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            if _RULES.fullmatch(line):
                continue
            cells = _CELLS.split(line)[1:-1]
            if "┃" in line:
                lines.append(" | ".join(cell.strip() for cell in cells))
            elif cells and cells[0].strip():  # else a cell that goes on from the line above
                lines.append(" | ".join(map(_cell_shape, cells)))
            elif not cells:
                shaped = line_shape(line)
                if not (shaped.startswith(" ") and lines and lines[-1] == shaped):
                    lines.append(shaped)
        return "\n".join(lines)

    return shape


def _cell_shape(cell: str) -> str:
    return "number" if re.fullmatch(r"[\d.]+", cell.strip()) else "text"


def scores(text: str) -> set[str]:
    """The numbers with a point, each once."""
    return set(_DECIMAL.findall(text))
