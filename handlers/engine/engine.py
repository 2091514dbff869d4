"""The engine: a bundle in memory that answers batches of queries."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError, InvalidQuery
from bundles.bundle import Bundle
from bundles.graph import OUTPUTS, Inputs, Outputs
from handlers.engine.graph import Graph
from handlers.engine.planner import Plan, Planner, groups
from handlers.engine.query import (
    HIGHEST_RATING,
    LOWEST_RATING,
    RECOMMENDED,
    Limits,
    Objective,
    Query,
    Ranking,
)
from handlers.engine.reasons import Reasons, no_reasons, reasons
from handlers.engine.shortlist import WIDE, Shortlist, best, rated_at_first

# Times the cells of a call (`Graph.cells`) that one query's candidates may fill. In slices of 4,096
# candidates, on a CPU, the catalogue of 24,905 takes three quarters of the time that it takes in
# one call (half with TorchScript), and a sixth of the room.
SLICE = 4


class _Scored(NamedTuple):
    """float32[N] each, of the N candidates of a plan."""

    scores: NDArray[np.float32]
    ratings: NDArray[np.float32]
    affinities: NDArray[np.float32]
    wides: NDArray[np.float32]


class Engine:
    """Ranks for a bundle; one engine may be used from several threads at once.

    engine = Engine(bundle, OnnxGraph(bundle))
    [ranking] = engine.rank([Query(user_id=366396, top_k=5)])
    """

    def __init__(self, bundle: Bundle, graph: Graph, limits: Limits | None = None) -> None:
        """Answer with `graph`, which should be one of the bundle's, within `limits`."""
        self.bundle = bundle
        self.limits = limits or Limits()
        self._graph = graph
        self._planner = Planner(bundle, self.limits)
        self._catalogue = bundle.catalogue
        self._manifest = bundle.manifest

    def rank(self, queries: Sequence[Query]) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; a query that is not valid gets its error in its place."""
        started = time.perf_counter()
        answers: dict[int, Ranking | InvalidQuery] = {}
        plans = []
        for place, query in enumerate(queries):
            try:
                plans.append(self._planner.plan(place, query))
            except InvalidQuery as error:
                answers[place] = error
        shortlists = self._shortlists(plans)
        plans = [shortlists[p.place].plan if p.place in shortlists else p for p in plans]
        while plans:
            widened = []
            for group in groups(plans, self._graph.cells):
                outputs = self._run(self._inputs(group))
                for row, plan in enumerate(group):
                    scored = self._scored(plan, row, outputs)
                    shortlist = shortlists.get(plan.place)
                    if shortlist is not None and scored and shortlist.widen(scored.scores):
                        widened.append(shortlist.plan)
                    else:
                        answers[plan.place] = self._answer(plan, scored, started)
            plans = widened
        return [answers[place] for place in range(len(queries))]

    def warm_up(self) -> None:
        """Score the whole catalogue and a few small batches, so that no request pays for it.

        Raises BundleError where the graph does not know an anime of the catalogue, or scores one
        with a number that is not finite.
        """
        whole = self._planner.plan(0, Query(include_seen=True, include_adult=True))
        outputs = self._run(self._inputs([whole]))
        unknown = self._catalogue.anime_id[~outputs["known"][0]]
        if len(unknown):
            raise BundleError(
                f"{self.bundle.folder}: the graph does not know anime {unknown[0]} of the catalogue"
            )
        if not all(np.isfinite(outputs[name]).all() for name in ("rating", "affinity")):
            raise BundleError(f"{self.bundle.folder}: the graph's scores are not finite")
        few = Query(candidate_ids=self._catalogue.anime_id[:200])
        for size in (1, 1, 2, 2):  # TorchScript settles on a shape's code at its second call
            self.rank([few] * size)
            self.rank([Query(top_k=RECOMMENDED)])

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
        if self.bundle.crosses is None or plan.query.objective is Objective.RATING:
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

    def _scored(self, plan: Plan, row: int, outputs: Outputs) -> "_Scored | None":
        """The scores of a plan in its row of the outputs; None where they are not finite."""
        names = ("rating", "affinity", "wide")
        ratings, affinities, wides = (outputs[name][row, : len(plan.candidates)] for name in names)
        scores = self._objective(plan.query.objective, ratings, affinities)
        if not all(np.isfinite(values).all() for values in (scores, ratings, affinities)):
            return None
        return _Scored(scores, ratings, affinities, wides)

    def _answer(
        self, plan: Plan, scored: "_Scored | None", started: float
    ) -> Ranking | InvalidQuery:
        if scored is None:
            return InvalidQuery("profile", "the model has no finite score for these values")
        order = best(scored.scores, plan.query.top_k)
        ranked, wides = plan.candidates[order], scored.wides[order]
        return Ranking(
            anime_ids=ranked,
            scores=scored.scores[order],
            ratings=scored.ratings[order],
            affinities=scored.affinities[order],
            wides=wides,
            unknown_candidates=plan.unknown,
            unknown_history=plan.unknown_history,
            history_size=plan.history_size,
            familiarity=plan.familiarity,
            reasons=self._reasons(plan, ranked, wides) if plan.query.explain else None,
            compute_s=time.perf_counter() - started,
        )

    def _reasons(
        self, plan: Plan, ranked: NDArray[np.int64], wides: NDArray[np.float32]
    ) -> Reasons:
        crosses = self.bundle.crosses
        if crosses is None:
            return no_reasons(wides)
        rows = self._catalogue.rows(plan.history_ids)
        ids, ratings = plan.history_ids[rows >= 0], plan.history_ratings[rows >= 0]
        apart = crosses.contributions(rows[rows >= 0], ratings, self._catalogue.rows(ranked))
        return reasons(apart, ids, ratings, wides)

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
