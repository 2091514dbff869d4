"""What scores plans for the engine, whichever way it computes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bundles.graph import Inputs, Outputs
from bundles.manifest import Manifest
from handlers.engine.planner import Plan
from handlers.engine.query import Query


class Best(NamedTuple):
    """The K best candidates of a plan, best first, equal ones in the order of the plan's.

    anime_ids: int64[K]; scores, ratings, affinities, wides: float32[K].
    """

    anime_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    ratings: NDArray[np.float32]
    affinities: NDArray[np.float32]
    wides: NDArray[np.float32]


class Scorer(Protocol):
    """It may be called from several threads at once.

    name: what GetModelInfo and the metrics call it.
    """

    name: str

    def best(self, plans: Sequence[Plan]) -> list[Best | None]:
        """The best of each plan's candidates, as many as its query wants, by its objective.

        None for a plan whose scores are not finite.
        """

    def part(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each of some ids once, in their order: those of the catalogue, and the others."""

    def is_quick(self, query: Query, candidates: int, history: int) -> bool:
        """Whether a query of so many is scored in less time than to hand it to a thread takes."""

    def run(self, inputs: Inputs) -> Outputs:
        """Score every candidate by the graph's own signature; see `Graph.run`."""

    def check(self, whole: Plan) -> None:
        """Score all of a plan's candidates, which are the whole catalogue.

        Raises BundleError where one is not known, or its score is not finite.
        """


def can_compile(manifest: Manifest) -> bool:
    """Whether compiled code can compute here for the bundle of a manifest."""
    return manifest.tables is not None and has_compiler()


def has_compiler() -> bool:
    """Whether Numba is installed, which compiles."""
    try:
        import numba  # noqa: F401 - whether it is there is all that is asked
    except ImportError:
        return False
    return True
