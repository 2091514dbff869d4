"""The proto messages from and to queries, rankings and the manifest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from anirank.contract import ranking_pb2 as pb
from anirank.errors import Fault, quoted
from bundles.bundle import Bundle
from bundles.profile import ProfileField
from handlers.engine.explanations import Explanation, Reason, explanations
from handlers.engine.query import RECOMMENDED, Familiarity, Limits, Objective, Query, Ranking
from handlers.engine.refusal import Refusal

OBJECTIVES = {
    Objective.RATING: pb.OBJECTIVE_RATING,
    Objective.AFFINITY: pb.OBJECTIVE_AFFINITY,
    Objective.BLENDED: pb.OBJECTIVE_BLENDED,
}
_FAMILIARITIES = {
    Familiarity.KNOWN: pb.FAMILIARITY_KNOWN,
    Familiarity.NEW_WITH_HISTORY: pb.FAMILIARITY_NEW_WITH_HISTORY,
    Familiarity.NEW: pb.FAMILIARITY_NEW,
}


def read_rank(request: pb.RankRequest, fields: Sequence[ProfileField], limits: Limits) -> Query:
    """The query in a RankRequest; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    # Here as well as later, before anything is made of millions of entries.
    few = refusal.bounded("candidate_ids", len(request.candidate_ids), 1, limits.candidates)
    ids, ratings = _history(request.history, limits, refusal)
    query = Query(
        user_id=request.user_id if request.HasField("user_id") else None,
        candidate_ids=np.array(request.candidate_ids, np.int64) if few else None,
        history_ids=ids,
        history_ratings=ratings,
        profile=_profile(request.profile, fields, refusal),
        top_k=request.top_k or None,
        objective=_objective(request.objective, refusal),
        explain=request.explain,
    )
    if refusal:
        raise refusal.error()
    return query


def read_recommend(
    request: pb.RecommendRequest, fields: Sequence[ProfileField], limits: Limits
) -> Query:
    """The query in a RecommendRequest; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    ids, ratings = _history(request.history, limits, refusal)
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
    )
    if refusal:
        raise refusal.error()
    return query


def write_reply(ranking: Ranking, bundle: Bundle, queue_s: float) -> pb.RankReply:
    """The reply to a request that waited `queue_s` seconds for its batch."""
    titles, genres = bundle.catalogue.titles, bundle.catalogue.genres
    columns = (
        ranking.anime_ids,
        ranking.scores,
        ranking.ratings,
        ranking.affinities,
        ranking.wides,
    )
    return pb.RankReply(
        ranking=[
            pb.RankedAnime(
                anime_id=anime_id,
                title=titles[row],
                genres=genres[row],
                score=score,
                rating=rating,
                affinity=affinity,
                wide=wide,
                **_explained(explanation),
            )
            for row, explanation, anime_id, score, rating, affinity, wide in zip(
                bundle.catalogue.rows(ranking.anime_ids).tolist(),
                explanations(ranking, bundle),
                *(column.tolist() for column in columns),
                strict=True,
            )
        ],
        unknown_candidates=ranking.unknown_candidates.tolist(),
        familiarity=_FAMILIARITIES[ranking.familiarity],
        model_version=bundle.manifest.version,
        queue_time=_duration(queue_s),
        compute_time=_duration(ranking.compute_s),
        unknown_history=ranking.unknown_history.tolist(),
        history_size=ranking.history_size,
    )


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
        ),
        numbers=described["number"],
        categories=described["category"],
        data_fingerprint=manifest.data_fingerprint,
        catalogue_size=len(bundle.catalogue),
    )
    info.parity.update(manifest.parity)
    info.metrics.update(manifest.metrics)
    return info


def _explained(explanation: Explanation | None) -> dict[str, Any]:
    if explanation is None:
        return {}
    return {"reasons": map(_reason, explanation.reasons), "rest": explanation.rest}


def _reason(reason: Reason) -> pb.Reason:
    if reason.genre is not None:
        return pb.Reason(genre=reason.genre, contribution=reason.contribution)
    anime = pb.WatchedAnime(anime_id=reason.anime_id, title=reason.title, rating=reason.rating)
    return pb.Reason(anime=anime, contribution=reason.contribution)


def _history(
    items: Sequence[pb.HistoryItem], limits: Limits, refusal: Refusal
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    few = refusal.bounded("history", len(items), 0, limits.history)
    items = list(items) if few else []  # each is made once, not once for each field that is read
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
        refusal.rated(ratings, wrong)
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


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
