"""The JSON form of a request and of an answer.

A request: ``{"user_id": 366396, "candidate_ids": [1, 5], "history": [{"anime_id": 1, "rating": 9}],
"profile": {"gender": "Male", "days_watched": 12.5}, "top_k": 10, "objective": "blended",
"include_seen": false, "include_adult": false, "explain": false, "filter": {"genres": {"any":
["Action"], "none": ["Ecchi"]}, "years": {"min": 2000}, "without_ids": [1]}, "diversity": 0}``.
Everything may be left out; without candidate_ids the whole catalogue is ranked and the best 10 are
answered.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery, quoted
from bundles.bundle import Bundle
from bundles.profile import ProfileField
from handlers.engine.explanations import Reason, explanations
from handlers.engine.query import RECOMMENDED, Limits, Objective, Query, Ranking
from handlers.engine.refusal import Refusal
from handlers.forms.json.filter import read_filter
from handlers.forms.json.values import flag, ids, integer, is_integer, no_integer, only

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
    "filter",
    "diversity",
)

_OF_RECOMMEND = ("include_seen", "include_adult", "diversity")
RANK_KEYS = tuple(key for key in _KEYS if key not in _OF_RECOMMEND)
RECOMMEND_KEYS = tuple(key for key in _KEYS if key != "candidate_ids")


def read_rank(item: object, fields: Sequence[ProfileField], limits: Limits) -> Query:
    """The query to order candidates, as `read_query`: these must be given."""
    if isinstance(item, dict):
        item = {"candidate_ids": [], **item}
    return read_query(item, fields, limits, RANK_KEYS)


def read_recommend(item: object, fields: Sequence[ProfileField], limits: Limits) -> Query:
    """The query to choose from the whole catalogue, as `read_query`."""
    return read_query(item, fields, limits, RECOMMEND_KEYS)


def read_query(
    item: object, fields: Sequence[ProfileField], limits: Limits, keys: Sequence[str] = _KEYS
) -> Query:
    """The query in a parsed JSON item; raises InvalidQuery with all that is wrong in it.

    keys: those that the item may have.
    """
    if not isinstance(item, dict):
        raise InvalidQuery("request", f"{quoted(item)} is not a JSON object")
    refusal = Refusal()
    only(item, keys, "", refusal)
    candidate_ids = None
    if "candidate_ids" in item:
        candidate_ids = ids(item["candidate_ids"], "candidate_ids", 1, limits.candidates, refusal)
    history_ids, history_ratings = read_items(
        item.get("history", []), "history", 0, limits, refusal
    )
    query = Query(
        user_id=integer(item, "user_id", refusal),
        candidate_ids=candidate_ids,
        history_ids=history_ids,
        history_ratings=history_ratings,
        profile=_profile(item.get("profile", {}), fields, refusal),
        top_k=integer(item, "top_k", refusal, None if "candidate_ids" in item else RECOMMENDED),
        objective=_objective(item.get("objective", "blended"), refusal),
        include_seen=flag(item, "include_seen", refusal),
        include_adult=flag(item, "include_adult", refusal),
        explain=flag(item, "explain", refusal),
        filter=read_filter(item["filter"], limits, refusal) if "filter" in item else None,
        diversity=_number(item, "diversity", refusal),
    )
    if refusal:  # what cannot be read is left out of the query; the rest of it may be wrong as well
        refusal.check(query, fields, limits)
        raise refusal.error()
    return query


def write_ranking(ranking: Ranking, bundle: Bundle) -> dict[str, Any]:
    """The answer as a JSON object, named as in the proto file; scores are the float32 numbers.

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
            "genres": catalogue.genres[row],
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
    live = ranking.live_history
    return {
        "ranking": entries,
        "unknown_candidates": ranking.unknown_candidates.tolist(),
        "unknown_history": ranking.unknown_history.tolist(),
        "familiarity": ranking.familiarity.name.lower(),
        "history_size": ranking.history_size,
        **({"live_history": live.name.lower()} if live else {}),  # where histories are kept
        "model_version": bundle.manifest.version,
    }


def write_error(error: InvalidQuery) -> dict[str, Any]:
    """The error as a JSON object: the first fault, and the list of all."""
    faults = [{"field": fault.field, "reason": fault.reason} for fault in error.faults]
    return {"error": {**faults[0], "faults": faults}}


def _reason(reason: Reason) -> dict[str, Any]:
    contribution = {"contribution": reason.contribution}
    if reason.genre is not None:
        return {"genre": reason.genre, **contribution}
    rating = {} if reason.rating is None else {"rating": reason.rating}
    return {"anime_id": reason.anime_id, "title": reason.title, **rating, **contribution}


def read_items(
    items: object, field: str, least: int, limits: Limits, refusal: Refusal
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """int64[H] ids and float32[H] ratings, NaN = not rated, of a list of anime at a field."""
    if not isinstance(items, list):
        refusal.add(field, f"{quoted(items)} is not a list")
        items = []
    elif not refusal.bounded(field, len(items), least, limits.history):
        items = []
    if (quick := _right_history(items)) is not None:
        return quick
    watched = np.zeros(len(items), np.int64)
    ratings = np.full(len(items), np.nan, np.float32)
    for i, item in enumerate(items):
        path = f"{field}[{i}]"
        if not isinstance(item, dict):
            refusal.add(path, f"{quoted(item)} is not a JSON object")
            continue
        only(item, ("anime_id", "rating"), f"{path}.", refusal)
        anime_id, rating = item.get("anime_id"), item.get("rating")
        if "anime_id" not in item:
            refusal.add(f"{path}.anime_id", "is missing")
        elif not is_integer(anime_id):
            refusal.add(f"{path}.anime_id", no_integer(anime_id))
        else:
            watched[i] = anime_id
        if rating is None:
            continue
        if isinstance(rating, bool) or not isinstance(rating, int | float):
            refusal.add(f"{path}.rating", f"{quoted(rating)} is not a number")
        elif not 1 <= rating <= 10:
            refusal.add(f"{path}.rating", f"{quoted(rating)} is outside 1..10")
        else:
            ratings[i] = rating
    return watched, ratings


def _right_history(items: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """A history in which nothing is wrong, in a fifth of the time; None of another."""
    watched: list[int] = []
    rated: list[float] = []
    for item in items:
        if type(item) is not dict:
            return None
        anime_id, rating = item.get("anime_id"), item.get("rating")
        if len(item) != 1 + ("rating" in item) or type(anime_id) is not int:
            return None
        if rating is None:
            rating = np.nan
        elif type(rating) not in (int, float) or not 1 <= rating <= 10:
            return None
        watched.append(anime_id)
        rated.append(rating)
    try:
        return np.array(watched, np.int64), np.array(rated, np.float32)
    except OverflowError:
        return None


def _profile(
    values: object, fields: Sequence[ProfileField], refusal: Refusal
) -> NDArray[np.float32] | None:
    if not isinstance(values, dict):
        refusal.add("profile", f"{quoted(values)} is not a JSON object")
        return None
    if not values:
        return None
    only(values, [field.name for field in fields], "profile.", refusal)
    profile = np.full(len(fields), np.nan, np.float32)
    for i, field in enumerate(fields):
        if field.name in values:
            try:
                profile[i] = field.encode(values[field.name])
            except ValueError as error:
                refusal.add(f"profile.{field.name}", str(error))
    return profile


def _objective(value: object, refusal: Refusal) -> Objective:
    names = {objective.name.lower(): objective for objective in Objective}
    if not isinstance(value, str) or value not in names:
        refusal.add("objective", f"{quoted(value)} is not one of {', '.join(names)}")
        return Objective.BLENDED
    return names[value]


def _number(item: Mapping[str, object], key: str, refusal: Refusal) -> float:
    value = item.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        refusal.add(key, f"{quoted(value)} is not a finite number")
        return 0.0
    return float(value)
