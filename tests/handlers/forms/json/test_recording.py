import numpy as np
import pytest

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import Limits, LiveHistory
from handlers.forms import recording
from handlers.forms.json import recording as in_json
from handlers.histories.histories import History
from handlers.histories.record import Recorded

LIMITS = Limits(history=3)


def test_what_is_to_be_recorded_is_the_same_in_json_and_as_a_message():
    item = {"user_id": 7, "items": [{"anime_id": 1, "rating": 9}, {"anime_id": 5}]}
    one = in_json.read_watched(item | {"request_id": "a"}, LIMITS)
    listed = [pb.HistoryItem(anime_id=1, rating=9), pb.HistoryItem(anime_id=5)]
    message = pb.RecordWatchedRequest(user_id=7, items=listed, request_id="a")
    other = recording.read_watched(message, LIMITS)
    assert (one.user_id, one.request_id) == (other.user_id, other.request_id) == (7, "a")
    np.testing.assert_array_equal(one.anime_ids, other.anime_ids)
    np.testing.assert_array_equal(one.ratings, other.ratings)


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        ([], ["request"]),
        ({}, ["items"]),
        ({"user_id": "7", "items": {}, "request_id": 5, "more": 1}, None),
        ({"user_id": 0, "items": [{"anime_id": 1}]}, ["user_id"]),
        ({"user_id": 7, "items": [{"anime_id": -1}]}, ["items[0].anime_id"]),
        ({"user_id": 7, "items": [{"anime_id": 1, "rating": 11}]}, ["items[0].rating"]),
        ({"user_id": 7, "items": [{"anime_id": 1}] * 4}, ["items"]),
        ({"user_id": 7, "items": [{"anime_id": 1}], "request_id": "x" * 129}, ["request_id"]),
    ],
)
def test_what_is_wrong_is_named(item, fields):
    with pytest.raises(InvalidQuery) as caught:
        in_json.read_watched(item, LIMITS)
    found = [fault.field for fault in caught.value.faults]
    assert found == (fields or ["more", "user_id", "items", "request_id"])


def test_whose_history_is_asked_for_is_read_with_what_may_stand_beside_it():
    asked = {"user_id": 7, "model_version": "2"}
    assert in_json.read_user(asked, "model_version") == (7, {"model_version": "2"})
    for item, field in (({}, "user_id"), ({"user_id": 7, "model_version": 2}, "model_version")):
        with pytest.raises(InvalidQuery) as caught:
            in_json.read_user(item, "model_version")
        assert caught.value.field == field


def test_answers_in_json_are_named_as_the_messages_are():
    ratings = np.array([9, np.nan], np.float32)
    times = np.array([-1, 1_769_860_800_123])
    history = History(np.array([1, 5]), ratings, times, LiveHistory.COUNTED)
    assert in_json.write_history(history, "1") == {
        "items": [
            {"anime_id": 1, "rating": 9.0},
            {"anime_id": 5, "recorded_at": "2026-01-31T12:00:00.123Z"},
        ],
        "live_history": "counted",
        "model_version": "1",
    }
    message = pb.GetHistoryReply.FromString(recording.write_history(history, "1"))
    assert message.items[1].recorded_at.ToJsonString() == "2026-01-31T12:00:00.123Z"
    assert not message.items[0].HasField("recorded_at")
    assert not message.items[1].HasField("rating")
    assert in_json.write_recorded(Recorded(2, False)) == {"recorded": 2, "repeated": False}
    assert in_json.write_forgotten(3) == {"removed": 3}
