"""From a query to a plan: checked, its history and its candidates filled in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundles.bundle import Bundle
from bundles.catalogue import Catalogue
from handlers.engine.query import Familiarity, Limits, Query
from handlers.engine.refusal import Refusal
from handlers.filters.passing import Passing

# Requests of up to this many candidates share a call whatever their sizes; above it, one is not
# padded to more than twice its own.
SMALL = 256
_NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One valid query, ready for the graph; `place` is where it stood in the batch.

    candidates: int64[N], of the catalogue, each once, that pass the query's filter; unknown:
    int64[M], those that are not of the catalogue;
    history_ids, history_ratings: int64[H] and float32[H], the request's, or the stored one and what
    was recorded;
    unknown_history: int64[J], of the request's, not in the catalogue, each once;
    history_size: how many anime of the catalogue are in the history, each counted once.
    """

    place: int
    query: Query
    candidates: NDArray[np.int64]
    unknown: NDArray[np.int64]
    history_ids: NDArray[np.int64]
    history_ratings: NDArray[np.float32]
    unknown_history: NDArray[np.int64]
    history_size: int
    familiarity: Familiarity


# Each of some ids once, in their order: those of the catalogue, and the others.
Part = Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]


class Planner:
    """Makes plans for the queries to a bundle."""

    def __init__(self, bundle: Bundle, limits: Limits, part: Part) -> None:
        """Refuse what is beyond `limits`; `part` tells known ids from others."""
        self._part = part
        self._limits = limits
        self._catalogue = bundle.catalogue
        self._histories = bundle.histories
        self._manifest = bundle.manifest
        self._passing = Passing(bundle.catalogue, bundle.facets)

    def plan(self, place: int, query: Query) -> Plan:
        """The plan for a query; raises InvalidQuery with all that is wrong in it."""
        refusal = Refusal()
        refusal.check(query, self._manifest.profile, self._limits)
        if query.filter is not None:
            refusal.extend(*self._passing.faults(query.filter))
        if refusal:
            raise refusal.error()
        history_ids, history_ratings = query.history_ids, query.history_ratings
        watched, unknown_history = self._part(history_ids)
        stored_ids = query.recorded_ids
        known = query.user_id is not None and query.user_id in self._histories
        if known or len(stored_ids):
            stored_ids, stored_ratings = self._stored(query)
            if not len(history_ids):
                history_ids, history_ratings = stored_ids, stored_ratings
                watched, _ = self._part(stored_ids)
        if query.candidate_ids is None:
            candidates = self._unseen(query, np.concatenate((query.history_ids, stored_ids)))
            unknown = _NO_IDS
        else:
            candidates, unknown = self._part(query.candidate_ids)
            if query.filter is not None:
                rows = self._catalogue.rows(candidates)
                candidates = candidates[self._passing.of(query.filter)[rows]]
        if not self._manifest.uses_history:
            history_ids, history_ratings, watched = history_ids[:0], history_ratings[:0], _NO_IDS
        new = Familiarity.NEW_WITH_HISTORY if len(watched) else Familiarity.NEW
        familiarity = Familiarity.KNOWN if known else new
        return Plan(
            place,
            query,
            candidates,
            unknown,
            history_ids,
            history_ratings,
            unknown_history,
            len(watched),
            familiarity,
        )

    def _stored(self, query: Query) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """int64[H] and float32[H]: what the bundle has of the user, and what was recorded since."""
        ids, ratings = query.recorded_ids, query.recorded_ratings
        if query.user_id is None:
            return ids, ratings
        return merged(self._histories.of(query.user_id), (ids, ratings))

    def _unseen(self, query: Query, seen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Who passes the filter, without what was seen or is adult unless these are included."""
        if query.filter is None:
            keep = np.ones(len(self._catalogue), np.bool_)
        else:
            keep = self._passing.of(query.filter)
        if not query.include_adult:
            keep &= ~self._catalogue.adult
        if not query.include_seen:
            rows = self._catalogue.rows(seen)
            keep[rows[rows >= 0]] = False
        return self._catalogue.anime_id[keep]


def merged(
    stored: tuple[NDArray[np.int64], NDArray[np.float32]],
    recorded: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first of two histories without the anime of the second, and the second; ids, ratings."""
    if not len(recorded[0]):
        return stored
    kept = ~np.isin(stored[0], recorded[0])
    ids = np.concatenate((stored[0][kept], recorded[0]))
    return ids, np.concatenate((stored[1][kept], recorded[1]))


def part(
    catalogue: Catalogue, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each id once, in their order: those of the catalogue, and the others."""
    if not len(ids):
        return _NO_IDS, _NO_IDS
    ordered = np.sort(ids)  # found in half the time
    if (ordered[1:] > ordered[:-1]).all() and catalogue.rows(ordered).min() >= 0:
        return ids, _NO_IDS
    once = distinct(ids)
    there = catalogue.rows(once) >= 0
    return once[there], once[~there]


def distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
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
