"""The proto messages of requests as queries, and the manifest as a message."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.contract import ranking_pb2 as pb
from anirank.errors import Fault, quoted
from bundles.bundle import Bundle
from bundles.facets import COLUMNS, Facets
from bundles.profile import ProfileField
from handlers.engine.query import RECOMMENDED, Limits, Objective, Query
from handlers.engine.refusal import Refusal
from handlers.filters.filter import RANGES, Filter, Range, Values
from handlers.similar.likeness import offered
from handlers.similar.query import Likeness

OBJECTIVES = {
    Objective.RATING: pb.OBJECTIVE_RATING,
    Objective.AFFINITY: pb.OBJECTIVE_AFFINITY,
    Objective.BLENDED: pb.OBJECTIVE_BLENDED,
}
LIKENESSES = {
    Likeness.CROSSES: pb.LIKENESS_CROSSES,
    Likeness.VECTORS: pb.LIKENESS_VECTORS,
    Likeness.BOTH: pb.LIKENESS_BOTH,
}


class Columns(NamedTuple):
    """The long fields of a request, where they were read apart from its message.

    candidate_ids: int64[N]; history_ids: int64[H]; history_ratings: float32[H], NaN = not rated.
    """

    candidate_ids: NDArray[np.int64]
    history_ids: NDArray[np.int64]
    history_ratings: NDArray[np.float32]


# Reads the long fields of a request's bytes apart, given the number of the field of its candidates,
# 0 where it has none: the bytes of all else, and the columns. None where it cannot.
ReadApart = Callable[[bytes, int], tuple[bytes, Columns] | None]


def read_rank(
    request: pb.RankRequest,
    fields: Sequence[ProfileField],
    limits: Limits,
    columns: Columns | None = None,
) -> Query:
    """The query in a RankRequest; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    candidates = request.candidate_ids if columns is None else columns.candidate_ids
    # Here as well as later, before anything is made of millions of entries.
    few = refusal.bounded("candidate_ids", len(candidates), 1, limits.candidates)
    ids, ratings = _history(request.history, columns, limits, refusal)
    query = Query(
        user_id=request.user_id if request.HasField("user_id") else None,
        candidate_ids=np.array(candidates, np.int64) if few else None,
        history_ids=ids,
        history_ratings=ratings,
        profile=_profile(request.profile, fields, refusal),
        top_k=request.top_k or None,
        objective=_objective(request.objective, refusal),
        explain=request.explain,
        filter=read_filter(request, limits, refusal),
    )
    if refusal:
        raise refusal.error()
    return query


def read_recommend(
    request: pb.RecommendRequest,
    fields: Sequence[ProfileField],
    limits: Limits,
    columns: Columns | None = None,
) -> Query:
    """The query in a RecommendRequest; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    ids, ratings = _history(request.history, columns, limits, refusal)
    query = Query(
        user_id=request.user_id if request.HasField("user_id") else None,
        history_ids=ids,
        history_ratings=ratings,
        profile=_profile(request.profile, fields, refusal),
        top_k=request.top_k or RECOMMENDED,
        objective=_objective(request.objective, refusal),
        include_seen=request.include_seen,
        include_adult=request.include_adult,
        explain=request.explain,
        filter=read_filter(request, limits, refusal),
        diversity=request.diversity,
    )
    if refusal:
        raise refusal.error()
    return query


def write_info(bundle: Bundle, backend: str, limits: Limits) -> pb.ModelInfo:
    """What GetModelInfo answers."""
    manifest = bundle.manifest
    described: dict[str, list[pb.ProfileField]] = {"number": [], "category": []}
    for field in manifest.profile:
        described[field.kind].append(pb.ProfileField(name=field.name, values=field.values))
    info = pb.ModelInfo(
        name=manifest.name,
        version=manifest.version,
        preset=manifest.preset,
        label=manifest.label,
        backend=backend,
        limits=pb.Limits(
            candidates=limits.candidates,
            history=limits.history,
            message_bytes=limits.message_bytes,
            queued=limits.queued,
            streamed=limits.streamed,
            filter_values=limits.filter_values,
            filter_ids=limits.filter_ids,
            diversified=limits.diversified,
        ),
        numbers=described["number"],
        categories=described["category"],
        data_fingerprint=manifest.data_fingerprint,
        catalogue_size=len(bundle.catalogue),
        filters=_filter_fields(bundle.facets),
        likenesses=[LIKENESSES[likeness] for likeness in offered(bundle)],
    )
    info.parity.update(manifest.parity)
    info.metrics.update(manifest.metrics)
    return info


def _history(
    items: Sequence[pb.HistoryItem], columns: Columns | None, limits: Limits, refusal: Refusal
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if columns is not None:  # the planner looks at the ratings
        return columns.history_ids, columns.history_ratings
    few = refusal.bounded("history", len(items), 0, limits.history)
    return read_items(items if few else [], "history", refusal)


def read_items(
    items: Sequence[pb.HistoryItem], field: str, refusal: Refusal
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """int64[H] ids and float32[H] ratings, NaN = not rated, of the items of a field."""
    items = list(items)  # each is made once, not once for each field that is read
    ids = np.array([item.anime_id for item in items], np.int64)
    ratings = np.array([item.rating for item in items], np.float32)
    # An absent rating reads as 0, and NaN stands for it from here on: one that was sent is none.
    wrong = []
    for i in np.flatnonzero(~((ratings >= 1) & (ratings <= 10))).tolist():
        if items[i].HasField("rating"):
            wrong.append(i)
        else:
            ratings[i] = np.nan
    if wrong:
        refusal.rated(ratings, wrong, field)
    return ids, ratings


def _profile(
    profile: pb.Profile, fields: Sequence[ProfileField], refusal: Refusal
) -> NDArray[np.float32] | None:
    if not profile.numbers and not profile.categories:
        return None
    codes = np.full(len(fields), np.nan, np.float32)
    for kind, folder, values in (
        ("number", "profile.numbers", profile.numbers),
        ("category", "profile.categories", profile.categories),
    ):
        places = {field.name: i for i, field in enumerate(fields) if field.kind == kind}
        here = [name for name in places if name in values]
        for name in here:
            try:
                codes[places[name]] = fields[places[name]].encode(values[name])
            except ValueError as error:
                refusal.add(_path(folder, name), str(error))
        if len(here) < len(values):  # of maybe a million, those listed are looked at
            reason = f"is not known; known are {', '.join(places) or 'none'}"
            unknown = (Fault(_path(folder, name), reason) for name in values if name not in places)
            refusal.extend(len(values) - len(here), unknown)
    return codes


def read_filter(
    request: pb.RankRequest | pb.RecommendRequest | pb.SimilarRequest,
    limits: Limits,
    refusal: Refusal,
) -> Filter | None:
    """The filter of a request, None where it has none; `refusal` takes what is too long in it."""
    if not request.HasField("filter"):
        return None
    asked, found = request.filter, dict[str, Any]()
    for column in COLUMNS:
        lists = [getattr(getattr(asked, column), name) for name in Values._fields]
        for name, values in zip(Values._fields, lists, strict=True):
            refusal.bounded(f"filter.{column}.{name}", len(values), 0, limits.filter_values)
        found[column] = Values(*(tuple(values[: limits.filter_values]) for values in lists))
    for name in RANGES:
        ends = getattr(asked, name)
        found[name] = Range(
            *(getattr(ends, end) if ends.HasField(end) else None for end in Range._fields)
        )
    only = asked.only_ids.ids if asked.HasField("only_ids") else None
    for name, ids in (("without_ids", asked.without_ids), ("only_ids", only)):
        if ids is not None and refusal.bounded(f"filter.{name}", len(ids), 0, limits.filter_ids):
            found[name] = np.array(ids, np.int64)
    return Filter(**found)


def _filter_fields(facets: Facets) -> list[pb.FilterField]:
    """What requests can be filtered by."""
    of = [(column, [*facets.of_column(column)]) for column in COLUMNS]
    fields = [pb.FilterField(name=name, values=values) for name, values in of if values]
    for name in RANGES:
        numbers = getattr(facets, name)
        known = () if numbers is None else numbers[numbers > 0].tolist()
        if known:
            fields.append(pb.FilterField(name=name, min=min(known), max=max(known)))
    return fields


def _path(folder: str, name: str) -> str:
    return f'{folder}["{name[:100]}"]'


def _objective(value: int, refusal: Refusal) -> Objective:
    if value != pb.OBJECTIVE_UNSPECIFIED:
        try:
            return Objective(value)
        except ValueError:
            known = ", ".join(f"{objective.name} ({objective})" for objective in Objective)
            refusal.add("objective", f"{quoted(value)} is not one of {known}")
    return Objective.BLENDED
