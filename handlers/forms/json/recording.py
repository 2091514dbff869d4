"""The JSON form of what is asked of histories, and of the answers.

To record: ``{"user_id": 366396, "items": [{"anime_id": 1, "rating": 9}, {"anime_id": 5}],
"request_id": "a1"}``, answered with ``{"recorded": 2, "repeated": false}``. To get or to forget:
``{"user_id": 366396}``, answered with ``{"items": [{"anime_id": 1, "rating": 9.0, "recorded_at":
"2026-01-31T12:00:00.000Z"}], "live_history": "counted", "model_version": "1"}``, of which what the
model stores has no recorded_at, and with ``{"removed": 2}``.
"""

from datetime import UTC, datetime
from typing import Any

from anirank.errors import InvalidQuery, quoted
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal
from handlers.forms.json.form import read_items
from handlers.forms.json.values import integer, only
from handlers.forms.recording import check_user, check_watched
from handlers.histories.histories import History, Watched
from handlers.histories.record import Recorded


def read_watched(item: object, limits: Limits) -> Watched:
    """What a parsed JSON item records; raises InvalidQuery with all that is wrong in it."""
    asked = _object(item)
    refusal = Refusal()
    only(asked, ("user_id", "items", "request_id"), "", refusal)
    user_id = integer(asked, "user_id", refusal)
    ids, ratings = read_items(asked.get("items", []), "items", 1, limits, refusal)
    request_id = asked.get("request_id", "")
    if not isinstance(request_id, str):
        refusal.add("request_id", f"{quoted(request_id)} is not text")
        request_id = ""
    unread = bool(refusal)  # what cannot be read is 0, which would be found wrong once more
    watched = Watched(user_id or 0, ids, ratings, request_id)
    if not unread:
        check_watched(watched, refusal)
    if refusal:
        raise refusal.error()
    return watched


def read_user(item: object, *others: str) -> tuple[int, dict[str, str]]:
    """Whose history is asked for, and the texts of the `others` that may stand beside it.

    Raises InvalidQuery with all that is wrong in it.
    """
    asked = _object(item)
    refusal = Refusal()
    only(asked, ("user_id", *others), "", refusal)
    user_id = integer(asked, "user_id", refusal) or 0
    texts = {}
    for key in others:
        text = asked.get(key, "")
        if not isinstance(text, str):
            refusal.add(key, f"{quoted(text)} is not text")
        else:
            texts[key] = text
    if not refusal:
        check_user(user_id, refusal)
    if refusal:
        raise refusal.error()
    return user_id, texts


def write_recorded(recorded: Recorded) -> dict[str, Any]:
    """What became of what was to be recorded."""
    return {"recorded": recorded.recorded, "repeated": recorded.repeated}


def write_history(history: History, version: str) -> dict[str, Any]:
    """A user's history, beside that of a model's version."""
    columns = (history.anime_ids, history.ratings, history.times_ms)
    items = []
    for anime, rating, time_ms in zip(*(column.tolist() for column in columns), strict=True):
        item: dict[str, Any] = {"anime_id": anime}
        if rating == rating:  # not NaN
            item["rating"] = rating
        if time_ms >= 0:
            item["recorded_at"] = _time(time_ms)
        items.append(item)
    return {
        "items": items,
        "live_history": history.live_history.name.lower(),
        "model_version": version,
    }


def write_forgotten(removed: int) -> dict[str, Any]:
    """What there was of a user who is forgotten."""
    return {"removed": removed}


def _object(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidQuery("request", f"{quoted(item)} is not a JSON object")
    return item


def _time(time_ms: int) -> str:
    """As RFC 3339 writes it, in UTC."""
    seconds = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{time_ms % 1_000:03d}Z"
