"""The highest rate that a system holds, found in probes which may lie far apart.

The up-and-down method (Dixon and Mood, 1948): a rate that is held is raised, one that is missed is
lowered. So the rates settle where half of the probes hold, and one probe that met a stall leads
astray by a single step; what a bisection takes for missed, it never tries again.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

FIRST_STEP = 2.0  # that a rate is multiplied or divided by; its root follows each turn
LAST_STEP = 2 ** (1 / 16)  # 4 %


class Probe(NamedTuple):
    """A rate that was asked for, the p99 then, and whether it was held."""

    rate: float
    p99_ms: float
    held: bool
    settled: bool


@dataclass
class Search:
    """One system's search; rate: calls a second that the next probe should ask for."""

    rate: float
    probes: list[Probe] = field(default_factory=list)
    _step: float = FIRST_STEP

    def add(self, held: bool, p99_ms: float) -> None:
        """Take in what came of a probe at `rate`."""
        if self.probes and held != self.probes[-1].held:
            self._step = max(math.sqrt(self._step), LAST_STEP)
        settled = self._step == LAST_STEP
        self.probes.append(Probe(self.rate, p99_ms, held, settled))
        self.rate = max(self.rate * self._step if held else self.rate / self._step, 1.0)

    def rates(self) -> dict[int, float]:
        """The rates that say how much is held, by the number of the probe; empty if none was held.

        Those since the steps are at their smallest; before that one between held and missed.
        """
        found = {at: each.rate for at, each in enumerate(self.probes) if each.settled}
        if found or not (held := [each.rate for each in self.probes if each.held]):
            return found
        missed = [each.rate for each in self.probes if not each.held] or held
        return {len(self.probes) - 1: math.sqrt(max(held) * min(missed))}
