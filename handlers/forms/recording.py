"""The proto messages of histories: requests as values, and answers as messages."""

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from anirank.contract import ranking_pb2 as pb
from anirank.errors import Fault
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal
from handlers.forms.messages import read_items
from handlers.forms.replies import LIVE_HISTORIES
from handlers.histories.histories import History, Watched
from handlers.histories.record import LONGEST_REQUEST_ID, Recorded

_MOST_ID = np.iinfo(np.int32).max  # of an anime; a record has four bytes for it


def read_watched(request: pb.RecordWatchedRequest, limits: Limits) -> Watched:
    """What a RecordWatchedRequest records; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    few = refusal.bounded("items", len(request.items), 1, limits.history)
    ids, ratings = read_items(request.items if few else [], "items", refusal)
    watched = Watched(request.user_id, ids, ratings, request.request_id)
    check_watched(watched, refusal)
    if refusal:
        raise refusal.error()
    return watched


def read_user(user_id: int) -> int:
    """Whose history is asked for; raises InvalidQuery where that is nobody's id."""
    refusal = Refusal()
    check_user(user_id, refusal)
    if refusal:
        raise refusal.error()
    return user_id


def check_watched(watched: Watched, refusal: Refusal) -> None:
    """Take down what no store takes, whichever form it came in."""
    check_user(watched.user_id, refusal)
    ids = watched.anime_ids
    wrong = np.flatnonzero((ids < 1) | (ids > _MOST_ID)).tolist()
    refusal.extend(
        len(wrong),
        (Fault(f"items[{i}].anime_id", f"{ids[i]} is outside 1..{_MOST_ID}") for i in wrong),
    )
    length = len(watched.request_id.encode("utf-8", "replace"))
    if length > LONGEST_REQUEST_ID:
        refusal.add("request_id", f"{length} bytes, should be {LONGEST_REQUEST_ID} at most")


def write_recorded(recorded: Recorded) -> bytes:
    """The reply to a RecordWatchedRequest."""
    reply = pb.RecordWatchedReply(recorded=recorded.recorded, repeated=recorded.repeated)
    return bytes(reply.SerializeToString())


def write_history(history: History, version: str) -> bytes:
    """The reply to a GetHistoryRequest, with the stored history of a model's version."""
    columns = (history.anime_ids, history.ratings, history.times_ms)
    items = [
        pb.KnownItem(
            anime_id=anime,
            rating=None if rating != rating else rating,  # NaN
            recorded_at=None if time_ms < 0 else _timestamp(time_ms),
        )
        for anime, rating, time_ms in zip(*(column.tolist() for column in columns), strict=True)
    ]
    live = LIVE_HISTORIES[history.live_history]
    reply = pb.GetHistoryReply(items=items, live_history=live, model_version=version)
    return bytes(reply.SerializeToString())


def write_forgotten(removed: int) -> bytes:
    """The reply to a ForgetRequest."""
    return bytes(pb.ForgetReply(removed=removed).SerializeToString())


def check_user(user_id: int, refusal: Refusal) -> None:
    """Take down an id that is nobody's."""
    if user_id < 1:
        refusal.add("user_id", f"{user_id}, should be 1 or more" if user_id else "none given")


def _timestamp(time_ms: int) -> Timestamp:
    return Timestamp(seconds=time_ms // 1_000, nanos=time_ms % 1_000 * 1_000_000)
