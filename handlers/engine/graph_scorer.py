"""Scores plans with the served graph: padded batches, slices, and only who is in the running."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles.bundle import Bundle
from bundles.graph import OUTPUTS, Inputs, Outputs
from handlers.engine.graph import Graph
from handlers.engine.planner import Plan, groups, part
from handlers.engine.query import HIGHEST_RATING, LOWEST_RATING, Objective, Query
from handlers.engine.scorer import Best
from handlers.engine.shortlist import WIDE, Shortlist, best, rated_at_first

# Times the cells of a call (`Graph.cells`) that one query's candidates may fill. In slices of 4,096
# candidates, on a CPU, the catalogue of 24,905 takes three quarters of the time that it takes in
# one call (half with TorchScript), and a sixth of the room.
SLICE = 4


class GraphScorer:
    """A graph of a bundle as a scorer."""

    def __init__(self, bundle: Bundle, graph: Graph) -> None:
        """Score with `graph`, which should be one of the bundle's."""
        self.name = graph.name
        self._bundle = bundle
        self._graph = graph
        self._manifest = bundle.manifest

    def best(self, plans: Sequence[Plan]) -> list[Best | None]:
        """The best of each plan's candidates; see `Scorer.best`."""
        found: dict[int, Best | None] = {}
        shortlists = self._shortlists(plans)
        left = [shortlists[p.place].plan if p.place in shortlists else p for p in plans]
        while left:
            widened = []
            for group in groups(left, self._graph.cells):
                outputs = self._run(self._inputs(group))
                for row, plan in enumerate(group):
                    scored = self._scored(plan, row, outputs)
                    shortlist = shortlists.get(plan.place)
                    if shortlist is not None and scored and shortlist.widen(scored.scores):
                        widened.append(shortlist.plan)
                    else:
                        found[plan.place] = scored and _ordered(scored, plan.query.top_k)
            left = widened
        return [found[plan.place] for plan in plans]

    def part(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each of some ids once; see `Scorer.part`."""
        return part(self._bundle.catalogue, ids)

    def is_quick(self, query: Query, candidates: int, history: int) -> bool:
        """False: a call of the graph by itself takes as long as a thread's wake-up."""
        return False

    def check(self, whole: Plan) -> None:
        """Score the whole catalogue; see `Scorer.check`."""
        outputs = self._run(self._inputs([whole]))
        unknown = whole.candidates[~outputs["known"][0]]
        if len(unknown):
            folder = self._bundle.folder
            raise BundleError(f"{folder}: the graph does not know anime {unknown[0]}")
        ratings, affinities = outputs["rating"], outputs["affinity"]
        with np.errstate(over="ignore", invalid="ignore"):
            blended = self._objective(Objective.BLENDED, ratings, affinities)
        if not all(np.isfinite(each).all() for each in (ratings, affinities, blended)):
            raise BundleError(f"{self._bundle.folder}: the graph's scores are not finite")

    def run(self, inputs: Inputs) -> Outputs:
        """Score every candidate; see `Scorer.run`."""
        return self._run(inputs)

    def _run(self, inputs: Inputs) -> Outputs:
        """The graph's outputs; many candidates go in slices, which are faster and need less room.

        A slice pays for the user's side again, so it is larger than a call that is shared.
        """
        most = SLICE * self._graph.cells
        ids = inputs["candidate_ids"]
        if ids.shape[1] <= most:
            return self._graph.run(inputs)
        slices = [
            np.ascontiguousarray(ids[:, at : at + most]) for at in range(0, ids.shape[1], most)
        ]
        parts = [self._graph.run(inputs | {"candidate_ids": each}) for each in slices]
        return {name: np.concatenate([part[name] for part in parts], 1) for name in OUTPUTS}

    def _shortlists(self, plans: Sequence[Plan]) -> dict[int, Shortlist]:
        """By place in the batch; of the plans of which most candidates need no rating."""
        shortlists = {}
        narrowed = [plan for plan in plans if self._narrows(plan)]
        for group in groups(narrowed, self._graph.cells):
            affinities = self._graph.affinity(self._inputs(group))
            for row, plan in enumerate(group):
                found = affinities[row, : len(plan.candidates)]
                if np.isfinite(found).all():  # else scoring all of it says what is wrong
                    shortlists[plan.place] = Shortlist(plan, *self._bounds(plan, found))
        return shortlists

    def _narrows(self, plan: Plan) -> bool:
        # Where no history goes into the affinity, it is the rating, and costs as much.
        if self._bundle.crosses is None or plan.query.objective is Objective.RATING:
            return False
        top_k = plan.query.top_k
        return top_k is not None and len(plan.candidates) > WIDE * rated_at_first(top_k)

    def _bounds(
        self, plan: Plan, affinities: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32[N] each: what no score of these candidates is below, and above."""
        # Computed among other candidates, a float64 sum may round to the float32 beside it.
        ends = [
            self._objective(plan.query.objective, np.full_like(found, rating), found)
            for found in (np.nextafter(affinities, np.float32(end)) for end in (-np.inf, np.inf))
            for rating in (LOWEST_RATING, HIGHEST_RATING)
        ]
        return np.minimum.reduce(ends), np.maximum.reduce(ends)

    def _inputs(self, group: Sequence[Plan]) -> Inputs:
        """What the graph takes for plans padded to the longest of them."""
        size = len(group)
        longest = max(len(plan.history_ids) for plan in group)
        widest = max(len(plan.candidates) for plan in group)
        user_id = np.array([plan.query.user_id or 0 for plan in group], np.int64)
        history_ids = np.zeros((size, longest), np.int64)
        history_ratings = np.full((size, longest), np.nan, np.float32)
        profile = np.full((size, len(self._manifest.profile)), np.nan, np.float32)
        candidate_ids = np.zeros((size, widest), np.int64)
        for row, plan in enumerate(group):
            history_ids[row, : len(plan.history_ids)] = plan.history_ids
            history_ratings[row, : len(plan.history_ids)] = plan.history_ratings
            candidate_ids[row, : len(plan.candidates)] = plan.candidates
            if plan.query.profile is not None:
                profile[row] = plan.query.profile
        return {
            "user_id": user_id,
            "history_ids": history_ids,
            "history_ratings": history_ratings,
            "profile": profile,
            "candidate_ids": candidate_ids,
        }

    def _scored(self, plan: Plan, row: int, outputs: Outputs) -> Best | None:
        """A plan's candidates with their scores, in its row of the outputs; None if not finite."""
        names = ("rating", "affinity", "wide")
        ratings, affinities, wides = (outputs[name][row, : len(plan.candidates)] for name in names)
        scores = self._objective(plan.query.objective, ratings, affinities)
        if not all(np.isfinite(values).all() for values in (scores, ratings, affinities)):
            return None
        return Best(plan.candidates, scores, ratings, affinities, wides)

    def _objective(
        self,
        objective: Objective,
        ratings: NDArray[np.float32],
        affinities: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        if objective is Objective.RATING:
            return ratings
        if objective is Objective.AFFINITY:
            return affinities
        beta, mean = np.float32(self._manifest.beta), np.float32(self._manifest.mean)
        return affinities + beta * (ratings - mean)


def _ordered(scored: Best, top_k: int | None) -> Best:
    order = best(scored.scores, top_k)
    return Best(
        scored.anime_ids[order],
        scored.scores[order],
        scored.ratings[order],
        scored.affinities[order],
        scored.wides[order],
    )
