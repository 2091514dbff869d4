"""A bundle's tables with the code that computes with them, as a scorer."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles.bundle import Bundle
from bundles.graph import Inputs, Outputs
from bundles.tables import kind_of
from handlers.engine.compiled import personal, seed
from handlers.engine.compiled.ids import part, rows_of
from handlers.engine.compiled.selection import AFFINITY, Asked, Need, Ranked
from handlers.engine.planner import Plan, distinct
from handlers.engine.query import Objective, Query
from handlers.engine.scorer import Best

# What a plan costs on a core of 2.5 GHz, and how long nobody else may be kept waiting for it.
CANDIDATE_US, WATCHED_US, RATED_US, QUICK_US = 0.2, 0.5, 2.5, 600.0

# By kind of tables: for what takes long, and for what is quick.
_RANK: dict[str, tuple[Callable[..., Ranked], Callable[..., Ranked]]] = {
    "personal-2": (personal.rank, personal.rank_now),
    "seed": (seed.rank, seed.rank_now),
}


class CompiledScorer:
    """Scores one plan after the other, or several at once in threads; none touches another."""

    name = "compiled"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Compute with the tables of `bundle`, the plans of a batch in up to `threads` threads.

        Raises BundleError where it has none.
        """
        if bundle.tables is None:
            raise BundleError(f"{bundle.folder}: has no tables for compiled code; export it anew")
        self._folder = bundle.folder
        self._tables: Any = bundle.tables
        self._rank, self._rank_now = _RANK[kind_of(bundle.tables)]
        # Where no history goes into the affinity, it is the rating.
        self._knows_affinity_first = bundle.crosses is not None
        self._anime_rows = bundle.catalogue.by_id
        self._beta, self._mean = np.float32(bundle.manifest.beta), np.float32(bundle.manifest.mean)
        self._nothing_stated = np.full(len(bundle.manifest.profile), np.nan, np.float32)
        self._anime = len(bundle.catalogue)
        self._of_thread = threading.local()
        self._threads = ThreadPoolExecutor(threads, "compiled") if threads > 1 else None

    def best(self, plans: Sequence[Plan]) -> list[Best | None]:
        """The best of each plan's candidates; see `Scorer.best`."""
        if self._threads is None or len(plans) == 1:
            return [self._best(plan) for plan in plans]
        return list(self._threads.map(self._best, plans))

    def part(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each of some ids once; see `Scorer.part`."""
        known, unknown = part(self._anime_rows, np.array(ids, np.int64), self._scratch())
        return known, unknown if len(unknown) < 2 else distinct(unknown)

    def is_quick(self, query: Query, candidates: int, history: int) -> bool:
        """Whether a query of so many takes about half a millisecond at most."""
        rated = candidates  # at the worst: by how much the rating may move a score is not known yet
        by_affinity = query.objective is Objective.AFFINITY or (
            query.objective is Objective.BLENDED and not self._beta
        )
        if query.top_k is not None and by_affinity and self._knows_affinity_first:
            rated = min(candidates, query.top_k)
        return candidates * CANDIDATE_US + history * WATCHED_US + rated * RATED_US <= QUICK_US

    def check(self, whole: Plan) -> None:
        """Score the whole catalogue; see `Scorer.check`."""
        if self._best(whole) is None:
            raise BundleError(f"{self._folder}: the tables' scores are not finite")

    def run(self, inputs: Inputs) -> Outputs:
        """Score every candidate as the graph does: what parity is measured of.

        Inputs and outputs as in `handlers.engine.graph.Graph.run`.
        """
        rows = rows_of(self._anime_rows, np.array(inputs["candidate_ids"], np.int64).ravel())
        known = (rows > 0).reshape(inputs["candidate_ids"].shape)
        names = ("rating", "affinity", "wide")
        found = {name: np.empty(known.shape, np.float32) for name in names}
        for b, candidates in enumerate(inputs["candidate_ids"]):
            once, place = np.unique(candidates, return_inverse=True)
            history_ids, history_ratings = inputs["history_ids"][b], inputs["history_ratings"][b]
            need = Need(len(once), AFFINITY, self._beta, self._mean)
            places, columns, _ = self._ranked(
                self._rank,
                int(inputs["user_id"][b]),
                history_ids,
                history_ratings,
                inputs["profile"][b],
                once,
                need,
            )
            in_order = np.argsort(places)[place]
            for name, column in zip(names, columns[1:], strict=True):
                found[name][b] = column[in_order]
        return found | {"known": known}

    def _best(self, plan: Plan) -> Best | None:
        query = plan.query
        top_k = query.top_k or len(plan.candidates)
        need = Need(top_k, int(query.objective), self._beta, self._mean)
        quick = self.is_quick(query, len(plan.candidates), len(plan.history_ids))
        places, columns, finite = self._ranked(
            self._rank_now if quick else self._rank,
            query.user_id or 0,
            plan.history_ids,
            plan.history_ratings,
            self._nothing_stated if query.profile is None else query.profile,
            plan.candidates,
            need,
        )
        return Best(plan.candidates[places], *columns) if finite else None

    def _ranked(
        self,
        rank: Callable[..., Ranked],
        user_id: int,
        history_ids: NDArray[np.int64],
        history_ratings: NDArray[np.float32],
        profile: NDArray[np.float32],
        candidate_ids: NDArray[np.int64],
        need: Need,
    ) -> Ranked:
        """What compiled code makes of a request; candidate_ids: each once."""
        users = self._tables.user_rows
        asked = Asked(
            int(users[user_id]) if 0 < user_id < len(users) else 0,
            # Copies are of one layout each; for another, code would be compiled anew.
            np.array(history_ids, np.int64),
            np.array(history_ratings, np.float32),
            np.array(profile, np.float32),
            np.array(candidate_ids, np.int64),
        )
        return rank(self._tables, self._anime_rows, asked, need, self._scratch())

    def _scratch(self) -> NDArray[np.int32]:
        """int32[A], whatever it holds; each thread has its own."""
        try:
            found: NDArray[np.int32] = self._of_thread.place
        except AttributeError:
            found = self._of_thread.place = np.empty(self._anime, np.int32)
        return found
