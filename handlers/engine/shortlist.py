"""The candidates that can be among the best, told by their affinity before they are rated.

A rating lies within 1 to 10, so that the affinity bounds the score from both sides, and who stays
below the k-th best of all the lower bounds is not among the best k. What is left out is proved to
be out: the answer is that of scoring everything.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handlers.engine.planner import Plan

FEW = 300  # candidates that are rated in about the time that one call of the graph takes anyway
WIDE = 4  # times as many candidates as are rated at first, for a look at them all to be worth it


class Shortlist:
    """Who of a plan's candidates is still in the running."""

    def __init__(self, plan: Plan, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        """Of a plan with a top_k; low, high: float32[N], what each score is within."""
        self._whole, self._high = plan, high
        self._top_k = plan.query.top_k or len(high)
        places = np.flatnonzero(high >= _edge(low, self._top_k))
        most = rated_at_first(self._top_k)
        self._places = places if len(places) <= most else np.sort(best(high, most))

    @property
    def plan(self) -> Plan:
        """The plan with the candidates that are to be scored, in the order they had."""
        return replace(self._whole, candidates=self._whole.candidates[self._places])

    def widen(self, scores: NDArray[np.float32]) -> bool:
        """Take in who can be as good as the k-th best; False where nobody else can.

        scores: float32[n], of the candidates of `plan`.
        """
        able = np.flatnonzero(self._high >= _edge(scores, self._top_k))
        wider = np.union1d(self._places, able)
        found = len(wider) > len(self._places)
        self._places = wider
        return found


def rated_at_first(top_k: int) -> int:
    """How many candidates are rated before it is known how good the k-th best is."""
    return max(FEW, 2 * top_k)


def best(scores: NDArray[np.float32], top_k: int | None) -> NDArray[np.intp]:
    """The places of the `top_k` highest of float32[N] finite scores, highest first.

    Equal scores stand in the order of their places, at the edge of the cut as well. None for all.
    """
    places = np.arange(len(scores))
    if top_k is not None and top_k < len(scores):
        edge = _edge(scores, top_k)
        above = np.flatnonzero(scores > edge)
        level = np.flatnonzero(scores == edge)[: top_k - len(above)]
        places = np.sort(np.concatenate((above, level)))
    return places[np.argsort(-scores[places], kind="stable")]


def _edge(scores: NDArray[np.float32], top_k: int) -> np.float32:
    """The `top_k`-th highest score, of at least as many."""
    # From the high end: partition takes ten times as long where the low end is all one number.
    edge: np.float32 = -np.partition(-scores, top_k - 1)[top_k - 1]
    return edge
