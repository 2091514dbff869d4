"""The JSON form of a request and of an answer.

A request: ``{"user_id": 366396, "candidate_ids": [1, 5], "history": [{"anime_id": 1, "rating": 9}],
"profile": {"gender": "Male", "days_watched": 12.5}, "top_k": 10, "objective": "blended",
"include_seen": false, "include_adult": false, "explain": false}``. Everything may be left out;
without candidate_ids the whole catalogue is ranked and the best 10 are answered.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery, quoted
from bundles.bundle import Bundle
from bundles.profile import ProfileField
from handlers.engine.explanations import Reason, explanations
from handlers.engine.query import RECOMMENDED, Objective, Query, Ranking

_KEYS = (
    "user_id",
    "candidate_ids",
    "history",
    "profile",
    "top_k",
    "objective",
    "include_seen",
    "include_adult",
    "explain",
)
_INT64 = np.iinfo(np.int64)


def read_query(item: object, fields: Sequence[ProfileField]) -> Query:
    """The query in a parsed JSON item; raises InvalidQuery with the path of what is wrong."""
    if not isinstance(item, dict):
        raise InvalidQuery("request", f"{quoted(item)} is not a JSON object")
    _only(item, _KEYS, "")
    user_id, top_k = item.get("user_id"), item.get("top_k")
    candidate_ids = _candidates(item["candidate_ids"]) if "candidate_ids" in item else None
    history_ids, history_ratings = _history(item.get("history", []))
    if top_k is None and candidate_ids is None:
        top_k = RECOMMENDED
    return Query(
        user_id=None if user_id is None else _integer(user_id, "user_id"),
        candidate_ids=candidate_ids,
        history_ids=history_ids,
        history_ratings=history_ratings,
        profile=_profile(item.get("profile", {}), fields),
        top_k=None if top_k is None else _integer(top_k, "top_k"),
        objective=_objective(item.get("objective", "blended")),
        include_seen=_flag(item, "include_seen"),
        include_adult=_flag(item, "include_adult"),
        explain=_flag(item, "explain"),
    )


def write_ranking(ranking: Ranking, bundle: Bundle) -> dict[str, Any]:
    """The answer as a JSON object; scores are the float32 numbers, written out in full.

    Where reasons were asked for, each anime has them, largest first, and the `rest` of its wide
    score: ``"reasons": [{"anime_id": 1, "title": "Cowboy Bebop", "rating": 9, "contribution":
    0.21}, {"genre": "Sci-Fi", "contribution": 0.04}], "rest": 0.07``.
    """
    catalogue = bundle.catalogue
    rows = catalogue.rows(ranking.anime_ids).tolist()
    columns = (
        ranking.anime_ids,
        ranking.scores,
        ranking.ratings,
        ranking.affinities,
        ranking.wides,
    )
    entries: list[dict[str, Any]] = [
        {
            "anime_id": anime_id,
            "title": catalogue.titles[row],
            "score": score,
            "rating": rating,
            "affinity": affinity,
            "wide": wide,
        }
        for row, anime_id, score, rating, affinity, wide in zip(
            rows, *(column.tolist() for column in columns), strict=True
        )
    ]
    for entry, explanation in zip(entries, explanations(ranking, bundle), strict=True):
        if explanation is not None:
            entry["reasons"] = [_reason(reason) for reason in explanation.reasons]
            entry["rest"] = explanation.rest
    return {
        "ranking": entries,
        "unknown_candidates": ranking.unknown_candidates.tolist(),
        "familiarity": ranking.familiarity.name.lower(),
        "model_version": bundle.manifest.version,
    }


def write_error(error: InvalidQuery) -> dict[str, Any]:
    """The error as a JSON object."""
    return {"error": {"field": error.field, "reason": error.reason}}


def _reason(reason: Reason) -> dict[str, Any]:
    contribution = {"contribution": reason.contribution}
    if reason.genre is not None:
        return {"genre": reason.genre, **contribution}
    rating = {} if reason.rating is None else {"rating": reason.rating}
    return {"anime_id": reason.anime_id, "title": reason.title, **rating, **contribution}


def _candidates(values: object) -> NDArray[np.int64]:
    if not isinstance(values, list):
        raise InvalidQuery("candidate_ids", f"{quoted(values)} is not a list")
    ids = [_integer(value, f"candidate_ids[{i}]") for i, value in enumerate(values)]
    return np.array(ids, np.int64)


def _history(items: object) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if not isinstance(items, list):
        raise InvalidQuery("history", f"{quoted(items)} is not a list")
    ids = np.zeros(len(items), np.int64)
    ratings = np.full(len(items), np.nan, np.float32)
    for i, item in enumerate(items):
        path = f"history[{i}]"
        if not isinstance(item, dict):
            raise InvalidQuery(path, f"{quoted(item)} is not a JSON object")
        _only(item, ("anime_id", "rating"), f"{path}.")
        if "anime_id" not in item:
            raise InvalidQuery(f"{path}.anime_id", "is missing")
        ids[i] = _integer(item["anime_id"], f"{path}.anime_id")
        rating = item.get("rating")
        if rating is not None:
            if isinstance(rating, bool) or not isinstance(rating, int | float):
                raise InvalidQuery(f"{path}.rating", f"{quoted(rating)} is not a number")
            if not 1 <= rating <= 10:
                raise InvalidQuery(f"{path}.rating", f"{quoted(rating)} is outside 1..10")
            ratings[i] = rating
    return ids, ratings


def _profile(values: object, fields: Sequence[ProfileField]) -> NDArray[np.float32] | None:
    if not isinstance(values, dict):
        raise InvalidQuery("profile", f"{quoted(values)} is not a JSON object")
    if not values:
        return None
    _only(values, [field.name for field in fields], "profile.")
    profile = np.full(len(fields), np.nan, np.float32)
    for i, field in enumerate(fields):
        if field.name in values:
            try:
                profile[i] = field.encode(values[field.name])
            except ValueError as error:
                raise InvalidQuery(f"profile.{field.name}", str(error)) from error
    return profile


def _objective(value: object) -> Objective:
    names = {objective.name.lower(): objective for objective in Objective}
    if not isinstance(value, str) or value not in names:
        raise InvalidQuery("objective", f"{quoted(value)} is not one of {', '.join(names)}")
    return names[value]


def _flag(item: Mapping[str, object], key: str) -> bool:
    value = item.get(key, False)
    if not isinstance(value, bool):
        raise InvalidQuery(key, f"{quoted(value)} is not true or false")
    return value


def _integer(value: object, path: str) -> int:
    if type(value) is not int or not _INT64.min <= value <= _INT64.max:
        raise InvalidQuery(path, f"{quoted(value)} is not a 64-bit integer")
    return value


def _only(item: Mapping[str, object], keys: Sequence[str], folder: str) -> None:
    for key in item:
        if key not in keys:
            path = f"{folder}{key[:100]}" or '""'
            raise InvalidQuery(path, f"is not known; known are {', '.join(keys)}")
