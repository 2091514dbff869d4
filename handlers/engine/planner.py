"""From a query to a plan: checked, its history and its candidates filled in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.query import Familiarity, Limits, Query

# Requests of up to this many candidates share a call whatever their sizes; above it, one is not
# padded to more than twice its own.
SMALL = 256

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One valid query, ready for the graph; `place` is where it stood in the batch.

    candidates: int64[N], of the catalogue, each once; unknown: int64[M], the others;
    history_ids, history_ratings: int64[H] and float32[H], the request's or the stored one.
    """

    place: int
    query: Query
    candidates: NDArray[np.int64]
    unknown: NDArray[np.int64]
    history_ids: NDArray[np.int64]
    history_ratings: NDArray[np.float32]
    familiarity: Familiarity


class Planner:
    """Makes plans for the queries to a bundle."""

    def __init__(self, bundle: Bundle, limits: Limits) -> None:
        """Refuse what is beyond `limits`."""
        self._limits = limits
        self._catalogue = bundle.catalogue
        self._histories = bundle.histories
        self._manifest = bundle.manifest

    def plan(self, place: int, query: Query) -> Plan:
        """The plan for a query; raises InvalidQuery for the first thing that is wrong in it."""
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
        return Plan(place, query, candidates, unknown, history_ids, history_ratings, familiarity)

    def _check(self, query: Query) -> None:
        """Raise InvalidQuery for the first thing in the query that cannot be answered."""
        if query.user_id is not None and not _INT64.min <= query.user_id <= _INT64.max:
            raise InvalidQuery("user_id", f"{query.user_id} is not a 64-bit integer")
        if query.candidate_ids is not None:
            count = len(query.candidate_ids)
            if not 1 <= count <= self._limits.candidates:
                raise InvalidQuery(
                    "candidate_ids", f"{count} given, should be 1 to {self._limits.candidates}"
                )
        if query.top_k is not None and query.top_k < 1:
            raise InvalidQuery("top_k", f"{query.top_k} is below 1")
        self._check_history(query)
        self._check_profile(query)

    def _check_history(self, query: Query) -> None:
        count, ratings = len(query.history_ids), query.history_ratings
        if count > self._limits.history:
            raise InvalidQuery("history", f"{count} given, should be 0 to {self._limits.history}")
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


def _distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each id once, at its first place."""
    _, first = np.unique(ids, return_index=True)
    return ids if len(first) == len(ids) else ids[np.sort(first)]


def groups(plans: Sequence[Plan], cells: int) -> Iterator[list[Plan]]:
    """Plans of like size together, each group within `cells` or of one plan.

    cells: candidates, or history items, in one call of the graph, padding included.
    """
    group: list[Plan] = []
    widest = longest = 0
    for plan in sorted(plans, key=lambda plan: len(plan.candidates), reverse=True):
        count = len(plan.candidates)
        widest, longest = max(widest, count), max(longest, len(plan.history_ids))
        too_many = (len(group) + 1) * max(widest, longest) > cells
        if group and (too_many or widest > max(SMALL, 2 * count)):
            yield group
            group, widest, longest = [], count, len(plan.history_ids)
        group.append(plan)
    if group:
        yield group
