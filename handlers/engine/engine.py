"""The engines: a bundle in memory that answers queries to rank, and for what is alike."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from bundles.diversity import POOL, Likeness, diversified
from bundles.graph import Inputs, Outputs
from bundles.tables import PersonalTables
from handlers.engine.planner import Plan, Planner
from handlers.engine.query import RECOMMENDED, Limits, Query, Ranking
from handlers.engine.reasons import Reasons, no_reasons, reasons
from handlers.engine.refusal import Refusal
from handlers.engine.scorer import Best, Scorer
from handlers.filters.passing import Passing
from handlers.similar.likeness import offered
from handlers.similar.query import SimilarQuery, SimilarRanking
from handlers.similar.similar import Similar


class Engine:
    """Ranks for a bundle; one engine may be used from several threads at once.

    engine = anirank.load("model_store/anime/1")
    [ranking] = engine.rank([Query(user_id=366396, top_k=5)])

    name: of what computes.
    """

    def __init__(self, bundle: Bundle, scorer: Scorer, limits: Limits | None = None) -> None:
        """Answer with `scorer`, which should be of the bundle, within `limits`."""
        self.bundle = bundle
        self.limits = limits or Limits()
        self.name = scorer.name
        self._scorer = scorer
        self._planner = Planner(bundle, self.limits, scorer.part)
        self._catalogue = bundle.catalogue
        self._likeness = Likeness.of(bundle.facets, len(bundle.catalogue), _vectors(bundle))

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
        pools = [self._pool(plan) for plan in plans]
        for plan, best in zip(plans, self._scorer.best(pools), strict=True):
            if plan.query.diversity and best is not None:
                best = self._diversified(plan, best)
            answers[plan.place] = self._answer(plan, best, started)
        return [answers[place] for place in range(len(queries))]

    def run(self, inputs: Inputs) -> Outputs:
        """Every candidate's outputs by the graph's own signature, each array by its name.

        Answers `rating`, `affinity` and `wide`, float32[B, N], and `known`, bool[B, N]. inputs:
        `user_id`, int64[B], `history_ids`, int64[B, H], `history_ratings`, float32[B, H],
        `profile`, float32[B, P], and `candidate_ids`, int64[B, N].
        """
        return self._scorer.run(inputs)

    def similar(self, queries: Sequence[SimilarQuery]) -> list[SimilarRanking | InvalidQuery]:
        """What is like the anime of each query, in order; one that is not valid gets its error."""
        return [self._similar.answer(query) for query in queries]

    @cached_property
    def _similar(self) -> "SimilarEngine":
        return SimilarEngine(self.bundle, self.limits)

    def is_quick(self, query: Query) -> bool:
        """Whether a query is answered in less time than it takes to hand it to a thread."""
        if query.candidate_ids is None or query.explain or query.diversity:
            return False
        history = len(query.history_ids)
        if not history and query.user_id is not None:
            history = self.bundle.histories.length(query.user_id)
        if not len(query.history_ids):
            history += len(query.recorded_ids)
        return self._scorer.is_quick(query, len(query.candidate_ids), history)

    def warm_up(self) -> None:
        """Score the whole catalogue and a few small batches, so that no request pays for it.

        Raises BundleError where the scorer does not know an anime of the catalogue, or scores one
        with a number that is not finite.
        """
        self._scorer.check(self._planner.plan(0, Query(include_seen=True, include_adult=True)))
        # Of these, the small are quick and the others are not: all code is then compiled.
        few = Query(candidate_ids=self._catalogue.anime_id[:200])
        for size in (1, 1, 2, 2):  # TorchScript settles on a shape's code at its second call
            self.rank([few] * size)
            self.rank([Query(top_k=RECOMMENDED)])

    def _pool(self, plan: Plan) -> Plan:
        """The plan for all that the answer is chosen from, where that is more."""
        query = plan.query
        if not query.diversity or query.top_k is None:
            return plan
        return replace(plan, query=replace(query, top_k=POOL * query.top_k))

    def _diversified(self, plan: Plan, pool: Best) -> Best:
        rows = self._catalogue.rows(pool.anime_ids)
        count = min(plan.query.top_k or len(rows), len(rows))
        if not count:
            return pool
        units = self._likeness.units(rows)[np.newaxis]
        [chosen] = diversified(pool.scores[np.newaxis], units, count, plan.query.diversity)
        return Best(*(column[chosen] for column in pool))

    def _answer(self, plan: Plan, best: Best | None, started: float) -> Ranking | InvalidQuery:
        if best is None:
            return InvalidQuery("profile", "the model has no finite score for these values")
        return Ranking(
            anime_ids=best.anime_ids,
            scores=best.scores,
            ratings=best.ratings,
            affinities=best.affinities,
            wides=best.wides,
            unknown_candidates=plan.unknown,
            unknown_history=plan.unknown_history,
            history_size=plan.history_size,
            familiarity=plan.familiarity,
            reasons=self._reasons(plan, best) if plan.query.explain else None,
            compute_s=time.perf_counter() - started,
        )

    def _reasons(self, plan: Plan, best: Best) -> Reasons:
        crosses = self.bundle.crosses
        if crosses is None:
            return no_reasons(best.wides)
        rows = self._catalogue.rows(plan.history_ids)
        ids, ratings = plan.history_ids[rows >= 0], plan.history_ratings[rows >= 0]
        ranked = self._catalogue.rows(best.anime_ids)
        apart = crosses.contributions(rows[rows >= 0], ratings, ranked)
        return reasons(apart, ids, ratings, best.wides)


class SimilarEngine:
    """Finds what is like the anime of a bundle, which takes its tables alone and no scorer.

    It may be used from several threads at once.
    """

    def __init__(self, bundle: Bundle, limits: Limits | None = None) -> None:
        """Answer for `bundle`, within `limits`."""
        self._limits = limits or Limits()
        self._offered = offered(bundle)
        self._passing = Passing(bundle.catalogue, bundle.facets)
        self._similar = Similar(bundle)

    def answer(self, query: SimilarQuery) -> SimilarRanking | InvalidQuery:
        """What is like the anime of a query; its error where it is not valid."""
        refusal = Refusal()
        refusal.check_similar(query, self._offered, self._limits)
        if query.filter is not None:
            refusal.extend(*self._passing.faults(query.filter))
        if refusal:
            return refusal.error()
        keep = None if query.filter is None else self._passing.of(query.filter)
        return self._similar.answer(query, keep)


def _vectors(bundle: Bundle) -> NDArray[np.float64] | None:
    """float64[A, D], what the model learnt of each anime as a candidate; None where nothing is."""
    if not isinstance(bundle.tables, PersonalTables):
        return None
    return bundle.tables.anime[1:, : bundle.tables.watched.shape[1] - 1]
