"""The JSON form of what is alike: a request as a query, and an answer as an object.

A request: ``{"anime_ids": [1, 5], "top_k": 10, "likeness": "both", "include_adult": false,
"filter": {"types": {"none": ["Movie"]}}}``. All but anime_ids may be left out.
"""

from typing import Any

import numpy as np

from anirank.errors import InvalidQuery, quoted
from bundles.bundle import Bundle
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal
from handlers.forms.json.filter import read_filter
from handlers.forms.json.values import flag, ids, integer, only
from handlers.forms.similar import titles_of
from handlers.similar.query import ANSWERED, Likeness, SimilarQuery, SimilarRanking

KEYS = ("anime_ids", "top_k", "likeness", "include_adult", "filter")


def read_similar(item: object, limits: Limits) -> SimilarQuery:
    """The query in a parsed JSON item; raises InvalidQuery with all that is wrong in it."""
    if not isinstance(item, dict):
        raise InvalidQuery("request", f"{quoted(item)} is not a JSON object")
    refusal = Refusal()
    only(item, KEYS, "", refusal)
    anime_ids = ids(item.get("anime_ids", []), "anime_ids", 1, limits.history, refusal)
    query = SimilarQuery(
        anime_ids=np.empty(0, np.int64) if anime_ids is None else anime_ids,
        top_k=integer(item, "top_k", refusal, ANSWERED) or 0,
        likeness=_likeness(item.get("likeness"), refusal),
        include_adult=flag(item, "include_adult", refusal),
        filter=read_filter(item["filter"], limits, refusal) if "filter" in item else None,
    )
    if refusal:
        raise refusal.error()
    return query


def write_similar(ranking: SimilarRanking, bundle: Bundle) -> dict[str, Any]:
    """The answer as a JSON object, named as in the proto file; scores are the float32 numbers."""
    catalogue, titles = bundle.catalogue, titles_of(ranking, bundle)
    columns = (ranking.anime_ids, ranking.scores, ranking.crosses, ranking.vectors)
    return {
        "ranking": [
            {
                "anime_id": anime_id,
                "title": catalogue.titles[row],
                "genres": catalogue.genres[row],
                "score": score,
                "crosses": crosses,
                "vectors": vectors,
                "shared_genres": list(common.genres),
                "shared_studios": list(common.studios),
                "watched_together": [
                    {"anime_id": watched, "title": titles[watched], "weight": weight}
                    for watched, weight in common.watched
                ],
            }
            for row, common, anime_id, score, crosses, vectors in zip(
                catalogue.rows(ranking.anime_ids).tolist(),
                ranking.common,
                *(column.tolist() for column in columns),
                strict=True,
            )
        ],
        "unknown_anime": ranking.unknown.tolist(),
        "likeness": ranking.likeness.name.lower(),
        "model_version": bundle.manifest.version,
    }


def _likeness(value: object, refusal: Refusal) -> Likeness | None:
    names = {likeness.name.lower(): likeness for likeness in Likeness}
    if value is None:
        return None
    if not isinstance(value, str) or value not in names:
        refusal.add("likeness", f"{quoted(value)} is not one of {', '.join(names)}")
        return None
    return names[value]
