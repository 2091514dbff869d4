"""What was refused while reading the input files, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

EXAMPLES = 5  # kept for each reason: enough to find the fault, few enough to print


@dataclass
class Refusal:
    """One reason in one file: how often, and the first few places."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Refusals:
    """Counts of refused rows, and of cells taken as missing, by file and reason.

    A reason that names a column (``unreadable Aired``) counts cells: the row was kept and the
    cell is missing in it. Every other reason counts rows that are not in the tables.
    """

    by_file: dict[str, dict[str, Refusal]] = field(default_factory=dict)

    def add(self, file: str, reason: str, count: int, examples: Iterable[str] = ()) -> None:
        """Count ``count`` more of ``reason``; the first ``EXAMPLES`` examples are kept."""
        if count == 0:
            return
        refusal = self.by_file.setdefault(file, {}).setdefault(reason, Refusal())
        refusal.count += count
        for example in examples:
            if len(refusal.examples) >= EXAMPLES:
                break
            refusal.examples.append(example)

    def merge(self, other: Refusals) -> None:
        """Add everything that ``other`` has counted."""
        for file, reasons in other.by_file.items():
            for reason, refusal in reasons.items():
                self.add(file, reason, refusal.count, refusal.examples)

    def count(self, file: str, reason: str) -> int:
        """How often ``reason`` was met in ``file``; 0 if never."""
        return self.by_file.get(file, {}).get(reason, Refusal()).count

    def total(self, file: str) -> int:
        """Everything counted in ``file``."""
        return sum(refusal.count for refusal in self.by_file.get(file, {}).values())

    def to_json(self) -> str:
        """The counts and examples as JSON; ``from_json`` gives an equal object back."""
        plain = {
            file: {
                reason: {"count": refusal.count, "examples": refusal.examples}
                for reason, refusal in reasons.items()
            }
            for file, reasons in self.by_file.items()
        }
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Refusals:
        """Read what ``to_json`` wrote; ValueError if it is something else."""
        try:
            return cls(
                {
                    file: {
                        reason: Refusal(int(entry["count"]), [str(e) for e in entry["examples"]])
                        for reason, entry in reasons.items()
                    }
                    for file, reasons in json.loads(text).items()
                }
            )
        except (AttributeError, KeyError, TypeError) as fault:
            raise ValueError("not a report of refusals") from fault

    def __rich__(self) -> Table:
        table = Table(title="Refused while reading", title_justify="left")
        table.add_column("file")
        table.add_column("reason")
        table.add_column("count", justify="right")
        table.add_column("first seen")
        for file, reasons in self.by_file.items():
            for reason, refusal in sorted(reasons.items(), key=lambda item: -item[1].count):
                first = refusal.examples[0] if refusal.examples else ""
                table.add_row(escape(file), escape(reason), f"{refusal.count:,}", escape(first))
        if not self.by_file:
            table.add_row("every file", "nothing refused", "0", "")
        return table
