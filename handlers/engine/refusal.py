"""Everything that is wrong with one request, gathered before it is refused."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from anirank.errors import Fault, InvalidQuery
from bundles.profile import ProfileField
from handlers.engine.query import Limits, Query
from handlers.filters.filter import Filter
from handlers.similar.query import Likeness, SimilarQuery

LISTED = 20  # faults of one request; more help nobody, and are only counted
# UTF-8 bytes of all faults listed. Over gRPC they stand in the metadata, a third longer, and a
# client refuses metadata from 8 KiB on.
LISTED_BYTES = 4_096

_INT64 = np.iinfo(np.int64)


class Refusal:
    """Gathers faults: lists the first, counts the rest. True once there is one."""

    def __init__(self) -> None:
        self._listed: list[Fault] = []
        self._count = 0
        self._room = LISTED_BYTES

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, field: str, reason: str) -> None:
        """Take down one fault."""
        self.extend(1, [Fault(field, reason)])

    def extend(self, count: int, faults: Iterable[Fault]) -> None:
        """Take down `count` faults; no more of `faults` are made than are listed."""
        self._count += count
        if self._room <= 0 or len(self._listed) >= LISTED:
            return
        for fault in faults:
            self._room -= len("".join(fault).encode("utf-8", "replace"))
            if self._room < 0 and self._listed:  # the first is listed whatever it takes
                return
            self._listed.append(fault)
            if len(self._listed) == LISTED:
                return

    def error(self) -> InvalidQuery:
        """The error that says all of it; there must be a fault."""
        (field, reason), *others = self._listed
        if more := self._count - len(self._listed):
            others.append(Fault("request", f"has {more} more fault{'s' * (more > 1)}"))
        return InvalidQuery(field, reason, others)

    def check(self, query: Query, fields: Sequence[ProfileField], limits: Limits) -> None:
        """Take down all in the query that cannot be answered."""
        if query.user_id is not None and not _INT64.min <= query.user_id <= _INT64.max:
            self.add("user_id", f"{query.user_id} is not a 64-bit integer")
        if query.candidate_ids is not None:
            self.bounded("candidate_ids", len(query.candidate_ids), 1, limits.candidates)
        if query.top_k is not None and query.top_k < 1:
            self.add("top_k", f"{query.top_k} is below 1")
        self._check_history(query, limits)
        self._check_profile(query, fields)
        if not 0 <= query.diversity <= 1:
            self.add("diversity", f"{query.diversity} is outside 0..1")
        elif query.diversity and not 1 <= (query.top_k or 0) <= limits.diversified:
            given = "all" if query.top_k is None else query.top_k
            self.add("top_k", f"{given} with diversity, should be 1 to {limits.diversified}")
        if query.filter is not None:
            self._check_filter(query.filter, limits)

    def check_similar(
        self, query: SimilarQuery, offered: Sequence[Likeness], limits: Limits
    ) -> None:
        """Take down all in a query for what is alike that cannot be answered."""
        self.bounded("anime_ids", len(query.anime_ids), 1, limits.history)
        if query.top_k < 1:
            self.add("top_k", f"{query.top_k} is below 1")
        if not offered:
            self.add("likeness", "this model has neither crosses nor vectors to tell it by")
        elif query.likeness is not None and query.likeness not in offered:
            has = ", ".join(each.name for each in offered)
            self.add("likeness", f"{query.likeness.name} is not offered by this model; {has} is")
        if query.filter is not None:
            self._check_filter(query.filter, limits)

    def bounded(self, field: str, count: int, least: int, most: int) -> bool:
        """Whether a field has as many entries as it may."""
        if least <= count <= most:
            return True
        self.add(field, f"{count} given, should be {least} to {most}")
        return False

    def rated(
        self, ratings: NDArray[np.float32], wrong: Sequence[int], field: str = "history"
    ) -> None:
        """Take down the places of a history's ratings that no user gives."""
        self.extend(
            len(wrong),
            (Fault(f"{field}[{i}].rating", f"{ratings[i]} is outside 1..10") for i in wrong),
        )

    def _check_history(self, query: Query, limits: Limits) -> None:
        count, ratings = len(query.history_ids), query.history_ratings
        if not self.bounded("history", count, 0, limits.history):
            return
        if len(ratings) != count:
            self.add("history", f"{count} anime and {len(ratings)} ratings")
            return
        wrong = (ratings < 1) | (ratings > 10)  # of NaN, which stands for none, neither is true
        if wrong.any():
            self.rated(ratings, np.flatnonzero(wrong).tolist())
        if len(query.recorded_ids):
            self._check_recorded(query)

    def _check_recorded(self, query: Query) -> None:
        ratings = query.recorded_ratings
        if len(ratings) != len(query.recorded_ids):
            self.add("recorded", f"{len(query.recorded_ids)} anime and {len(ratings)} ratings")
        elif ((ratings < 1) | (ratings > 10)).any():
            self.add("recorded", "has a rating outside 1..10")

    def _check_profile(self, query: Query, fields: Sequence[ProfileField]) -> None:
        if query.profile is None:
            return
        if query.profile.shape != (len(fields),):
            shape = list(query.profile.shape)
            self.add("profile", f"has shape {shape}, should be [{len(fields)}]")
            return
        for field, code in zip(fields, query.profile.tolist(), strict=True):
            if fault := field.fault(code):
                self.add(field.path, fault)

    def _check_filter(self, asked: Filter, limits: Limits) -> None:
        for column, name, values in asked.lists():
            self.bounded(f"filter.{column}.{name}", len(values), 0, limits.filter_values)
        for name, (least, most) in asked.ranges():
            if least is not None and most is not None and least > most:
                self.add(f"filter.{name}", f"min {least} is above max {most}")
        only = () if asked.only_ids is None else asked.only_ids
        for name, ids in (("without_ids", asked.without_ids), ("only_ids", only)):
            self.bounded(f"filter.{name}", len(ids), 0, limits.filter_ids)
