"""The engine: a bundle in memory that answers batches of queries."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlers.bundle import Bundle
from handlers.errors import BundleError, InvalidQuery
from handlers.graph import Arrays, Graph
from handlers.query import Familiarity, Limits, Objective, Query, Ranking

# Candidates (or history items) in one call of the graph, padding included. A hidden layer of 128
# then takes 32 MiB, and the whole catalogue of 25,000 goes twice into one call.
CELLS = 65_536
# Requests of up to this many candidates share a call whatever their sizes; above it, one is not
# padded to more than twice its own.
SMALL = 256

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """One valid query, ready for the graph; `place` is where it stood in the batch."""

    place: int
    query: Query
    candidates: NDArray[np.int64]
    unknown: NDArray[np.int64]
    history_ids: NDArray[np.int64]
    history_ratings: NDArray[np.float32]
    familiarity: Familiarity


class Engine:
    """Ranks for a bundle; one engine may be used from several threads at once.

    engine = Engine(bundle, OnnxGraph(bundle.graph_file(ONNX)))
    [ranking] = engine.rank([Query(user_id=366396, top_k=5)])
    """

    def __init__(self, bundle: Bundle, graph: Graph, limits: Limits | None = None) -> None:
        """Answer with `graph`, which should be one of the bundle's, within `limits`."""
        self.bundle = bundle
        self.limits = limits or Limits()
        self._graph = graph
        self._catalogue = bundle.catalogue
        self._histories = bundle.histories
        self._manifest = bundle.manifest

    def rank(self, queries: Sequence[Query]) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; a query that is not valid gets its error in its place."""
        started = time.perf_counter()
        answers: dict[int, Ranking | InvalidQuery] = {}
        plans = []
        for place, query in enumerate(queries):
            try:
                plans.append(self._plan(place, query))
            except InvalidQuery as error:
                answers[place] = error
        for group in _groups(plans):
            outputs = self._score(group)
            for row, plan in enumerate(group):
                answers[plan.place] = self._answer(plan, row, outputs, started)
        return [answers[place] for place in range(len(queries))]

    def warm_up(self) -> None:
        """Score the whole catalogue and a few small batches, so that no request pays for it.

        Raises BundleError where the graph does not know an anime of the catalogue, or scores one
        with a number that is not finite.
        """
        whole = self._plan(0, Query(include_seen=True, include_adult=True))
        outputs = self._score([whole])
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

    def _plan(self, place: int, query: Query) -> _Plan:
        self._check(query)
        history_ids, history_ratings = query.history_ids, query.history_ratings
        stored_ids = np.empty(0, np.int64)
        known = query.user_id is not None and query.user_id in self._histories
        if known and query.user_id is not None:
            stored_ids, stored_ratings = self._histories.of(query.user_id)
            if not len(history_ids):
                history_ids, history_ratings = stored_ids, stored_ratings
        if query.candidate_ids is None:
            candidates = self._unseen(query, np.concatenate((query.history_ids, stored_ids)))
            unknown = np.empty(0, np.int64)
        else:
            distinct = _distinct(query.candidate_ids)
            there = self._catalogue.rows(distinct) >= 0
            candidates, unknown = distinct[there], distinct[~there]
        if not self._manifest.uses_history:
            history_ids, history_ratings = history_ids[:0], history_ratings[:0]
        new = Familiarity.NEW_WITH_HISTORY if len(query.history_ids) else Familiarity.NEW
        familiarity = Familiarity.KNOWN if known else new
        return _Plan(place, query, candidates, unknown, history_ids, history_ratings, familiarity)

    def _check(self, query: Query) -> None:
        """Raise InvalidQuery for the first thing in the query that cannot be answered."""
        if query.user_id is not None and not _INT64.min <= query.user_id <= _INT64.max:
            raise InvalidQuery("user_id", f"{query.user_id} is not a 64-bit integer")
        if query.candidate_ids is not None:
            count = len(query.candidate_ids)
            if not 1 <= count <= self.limits.candidates:
                raise InvalidQuery(
                    "candidate_ids", f"{count} given, should be 1 to {self.limits.candidates}"
                )
        if query.top_k is not None and query.top_k < 1:
            raise InvalidQuery("top_k", f"{query.top_k} is below 1")
        self._check_history(query)
        self._check_profile(query)

    def _check_history(self, query: Query) -> None:
        count, ratings = len(query.history_ids), query.history_ratings
        if count > self.limits.history:
            raise InvalidQuery("history", f"{count} given, should be 0 to {self.limits.history}")
        if len(ratings) != count:
            raise InvalidQuery("history", f"{count} anime and {len(ratings)} ratings")
        fine = np.isnan(ratings) | ((ratings >= 1) & (ratings <= 10))
        if not fine.all():
            first = int(np.argmin(fine))
            raise InvalidQuery(f"history[{first}].rating", f"{ratings[first]} is outside 1..10")

    def _check_profile(self, query: Query) -> None:
        if query.profile is None:
            return
        fields = self._manifest.profile
        if query.profile.shape != (len(fields),):
            shape = list(query.profile.shape)
            raise InvalidQuery("profile", f"has shape {shape}, should be [{len(fields)}]")
        for field, code in zip(fields, query.profile.tolist(), strict=True):
            if fault := field.fault(code):
                raise InvalidQuery(field.path, fault)

    def _unseen(self, query: Query, seen: NDArray[np.int64]) -> NDArray[np.int64]:
        """The catalogue without what was seen and what is adult, unless these are included."""
        keep = np.ones(len(self._catalogue), np.bool_)
        if not query.include_adult:
            keep &= ~self._catalogue.adult
        if not query.include_seen:
            rows = self._catalogue.rows(seen)
            keep[rows[rows >= 0]] = False
        return self._catalogue.anime_id[keep]

    def _score(self, group: Sequence[_Plan]) -> Arrays:
        """Run the graph over plans padded to the longest of them."""
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
        return self._graph.run(
            {
                "user_id": user_id,
                "history_ids": history_ids,
                "history_ratings": history_ratings,
                "profile": profile,
                "candidate_ids": candidate_ids,
            }
        )

    def _answer(
        self, plan: _Plan, row: int, outputs: Arrays, started: float
    ) -> Ranking | InvalidQuery:
        count = len(plan.candidates)
        ratings, affinities = outputs["rating"][row, :count], outputs["affinity"][row, :count]
        scores = self._objective(plan.query.objective, ratings, affinities)
        if not all(np.isfinite(values).all() for values in (scores, ratings, affinities)):
            return InvalidQuery("profile", "the model has no finite score for these values")
        order = best(scores, plan.query.top_k)
        return Ranking(
            anime_ids=plan.candidates[order],
            scores=scores[order],
            ratings=ratings[order],
            affinities=affinities[order],
            unknown_candidates=plan.unknown,
            familiarity=plan.familiarity,
            compute_s=time.perf_counter() - started,
        )

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


def best(scores: NDArray[np.float32], top_k: int | None) -> NDArray[np.intp]:
    """The places of the `top_k` highest of float32[N] finite scores, highest first.

    Equal scores stand in the order of their places, at the edge of the cut as well. None for all.
    """
    places = np.arange(len(scores))
    if top_k is not None and top_k < len(scores):
        edge = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        above = np.flatnonzero(scores > edge)
        level = np.flatnonzero(scores == edge)[: top_k - len(above)]
        places = np.sort(np.concatenate((above, level)))
    return places[np.argsort(-scores[places], kind="stable")]


def _distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each id once, at its first place."""
    _, first = np.unique(ids, return_index=True)
    return ids if len(first) == len(ids) else ids[np.sort(first)]


def _groups(plans: Sequence[_Plan]) -> Iterator[list[_Plan]]:
    """Plans of like size together, each group within `CELLS`."""
    group: list[_Plan] = []
    widest = longest = 0
    for plan in sorted(plans, key=lambda plan: len(plan.candidates), reverse=True):
        count = len(plan.candidates)
        widest, longest = max(widest, count), max(longest, len(plan.history_ids))
        too_many = (len(group) + 1) * max(widest, longest) > CELLS
        if group and (too_many or widest > max(SMALL, 2 * count)):
            yield group
            group, widest, longest = [], count, len(plan.history_ids)
        group.append(plan)
    if group:
        yield group
