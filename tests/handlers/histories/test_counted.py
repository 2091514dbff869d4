import logging
import math
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anirank.client.requests import rank_request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable
from handlers.engine.query import Query
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.observer import Observer
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store
from tests.handlers.facade.test_server import assert_same

USER = 20  # the toy's second
NEW = 7  # nobody's whom the toy knows
COUNTED, NONE = pb.LIVE_HISTORY_COUNTED, pb.LIVE_HISTORY_NONE


@pytest.fixture
def client(serve, tmp_path):
    histories = Histories(open_store(str(tmp_path / "histories"), 16))
    with Client(serve(histories=histories)) as client:
        yield client


@pytest.fixture
def recorded(world) -> dict[int, float | None]:
    """Another rating of what the user had watched, none of what they had rated, and more."""
    first, second = (anime for anime, _ in world.histories[1][:2])
    return {first: 1.0, 33: 9.0, 10**6: 4.0, second: None, 60: None}


def after(world, recorded: dict[int, float | None]) -> Any:
    """The world as it were, had the user watched all this before it was made."""
    kept = [(anime, rating) for anime, rating in world.histories[1] if anime not in recorded]
    more = [(anime, int(rating or 0)) for anime, rating in recorded.items()]
    return replace(world, histories=[world.histories[0], [*kept, *more], *world.histories[2:]])


def as_query(items: dict[int, float | None], **others: Any) -> Query:
    ratings = [math.nan if rating is None else rating for rating in items.values()]
    return Query(
        history_ids=np.array(list(items), np.int64),
        history_ratings=np.array(ratings, np.float32),
        **others,
    )


def test_the_next_request_counts_what_was_recorded(client, world, recorded):
    assert client.recommend(user_id=USER).live_history == NONE
    client.record_watched(USER, recorded)
    then = after(world, recorded)
    reply = client.recommend(user_id=USER, top_k=60, explain=True)
    assert_same(reply, then.rank(Query(user_id=USER, top_k=60, explain=True)))
    assert reply.live_history == COUNTED
    assert not {33, 60} & {anime.anime_id for anime in reply.ranking}
    ids = world.anime_id[:20]
    ranked = then.rank(Query(user_id=USER, candidate_ids=ids))
    assert_same(client.rank(ids.tolist(), user_id=USER), ranked)
    [(_, streamed)] = client.stream([rank_request(ids.tolist(), user_id=USER)])
    assert_same(streamed, ranked)
    assert streamed.live_history == COUNTED
    other = client.recommend(user_id=30)
    assert_same(other, world.rank(Query(user_id=30, top_k=10)))
    assert other.live_history == NONE


def test_a_user_whom_nobody_knew_is_known_by_history(client, world):
    client.record_watched(NEW, {3: 9.0, 33: None})
    ids = world.anime_id[:20]
    reply = client.rank(ids.tolist(), user_id=NEW)
    assert_same(reply, world.rank(as_query({3: 9.0, 33: None}, candidate_ids=ids)))
    assert reply.familiarity == pb.FAMILIARITY_NEW_WITH_HISTORY
    assert (reply.history_size, reply.live_history) == (2, COUNTED)


def test_a_request_with_a_history_is_ranked_by_that_and_without_what_was_recorded(
    client, world, recorded
):
    client.record_watched(USER, recorded)
    given = {6: 8.0, 10**7: None}
    reply = client.recommend(user_id=USER, history=given, top_k=60)
    assert_same(reply, after(world, recorded).rank(as_query(given, user_id=USER, top_k=60)))
    assert list(reply.unknown_history) == [10**7]
    assert reply.live_history == COUNTED


def test_who_was_forgotten_is_nobody_until_something_is_recorded_and_never_who_they_were(
    client, world, recorded
):
    client.record_watched(USER, recorded)
    client.forget(USER)
    nobody = world.rank(Query(top_k=60, explain=True))
    reply = client.recommend(user_id=USER, top_k=60, explain=True)
    assert_same(reply, nobody)
    assert reply.live_history == NONE
    client.record_watched(USER, {3: 9.0})
    ids = world.anime_id[:20]
    reply = client.rank(ids.tolist(), user_id=USER)
    assert_same(reply, world.rank(as_query({3: 9.0}, candidate_ids=ids)))
    assert reply.familiarity == pb.FAMILIARITY_NEW_WITH_HISTORY


def test_metrics_and_the_log_say_how_the_store_is_and_never_who_asked(serve, tmp_path, caplog):
    user = 987_654_321
    metrics = Metrics()
    observer = Observer(metrics)
    store = open_store(str(tmp_path / "histories"), 1)
    histories = Histories(store, told=observer.histories)
    value = metrics.registry.get_sample_value
    with (
        caplog.at_level(logging.DEBUG, "handlers"),
        Client(serve(histories=histories, observer=observer)) as client,
    ):
        client.record_watched(user, {3: 9.0})
        client.recommend(user_id=user)
        shutil.rmtree(tmp_path / "histories")
        client.recommend(user_id=user)
        with pytest.raises(BackendUnavailable):
            client.forget(user)
        assert value("anirank_histories_ready") == 0
    for live in ("counted", "unavailable"):
        assert value("anirank_history_seconds_count", {"live_history": live}) == 1
    assert "data.mdb is gone" in caplog.text
    said = [record.live_history for record in caplog.records if hasattr(record, "live_history")]
    assert said == ["counted", "unavailable"]
    assert str(user) not in caplog.text + str([vars(record) for record in caplog.records])
