"""A store that is full, locked, damaged or gone: requests go on, and nothing answered is lost."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import lmdb
import numpy as np
import pytest
import redis

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable, HistoriesError, InvalidQuery
from handlers.engine.query import LiveHistory, Query
from handlers.histories import lmdb_store
from handlers.histories.histories import Histories, Watched
from handlers.histories.opening import open_store
from handlers.histories.record import Recorded
from tests.handlers.facade.test_server import assert_same
from tests.handlers.facade.test_shutdown import until

USER, GONE = 20, 30  # whom the toy knows
UNAVAILABLE, COUNTED = pb.LIVE_HISTORY_UNAVAILABLE, pb.LIVE_HISTORY_COUNTED
LOCKED = """
import lmdb, sys
with lmdb.open(sys.argv[1], max_dbs=3).begin(write=True):
    print("locked", flush=True)
    sys.stdin.read()
"""


def watched(user: int, ids, name: str = "") -> Watched:
    return Watched(user, np.array(ids), np.full(len(ids), np.nan, np.float32), name)


def test_a_worker_that_is_started_anew_makes_no_store_in_the_place_of_one_that_is_gone(tmp_path):
    place = str(tmp_path / "histories")

    async def look() -> None:
        histories = Histories(open_store(place, 1, lenient=True))
        await histories.check()
        assert not histories.well
        assert (await histories.counted(Query(user_id=1)))[1] == LiveHistory.UNAVAILABLE
        assert not (tmp_path / "histories").exists()
        other = Histories(open_store(place, 1))
        await other.record(watched(1, [3]))
        await other.close()
        assert (await histories.counted(Query(user_id=1)))[1] == LiveHistory.COUNTED
        assert histories.well
        await histories.close()

    asyncio.run(look())


@contextmanager
def running(serve, place: str):
    with Client(serve(histories=Histories(open_store(place, 1)))) as client:
        client.record_watched(USER, {3: 9.0})
        client.forget(GONE)
        yield client


def assert_without_store(client, world):
    """Requests go on from the bundle, with a flag, and who was forgotten stays so."""
    reply = client.recommend(user_id=USER)
    assert_same(reply, world.rank(Query(user_id=USER, top_k=10)))
    assert reply.live_history == UNAVAILABLE
    assert client.get_history(USER).live_history == UNAVAILABLE
    assert_same(client.recommend(user_id=GONE), world.rank(Query(top_k=10)))
    assert not client.get_history(GONE).items
    for write in (lambda: client.record_watched(USER, {6: 1}), lambda: client.forget(USER)):
        with pytest.raises(BackendUnavailable, match="does not answer; ask again") as caught:
            write()
        assert "/" not in str(caught.value)


def cut(data):
    os.truncate(data, 4_096)


def overwrite(data):
    with data.open("r+b") as file:
        file.write(b"\xa5" * data.stat().st_size)


def remove(data):
    shutil.rmtree(data.parent)


def put_another(data):
    remove(data)
    lmdb.open(str(data.parent)).close()


@pytest.mark.parametrize("harm", [cut, overwrite, remove, put_another])
def test_without_its_file_a_store_is_done_without_until_the_file_is_back(
    serve, world, tmp_path, harm
):
    folder, copy = tmp_path / "histories", tmp_path / "copy"
    with running(serve, str(folder)) as client:
        shutil.copytree(folder, copy)
        harm(folder / "data.mdb")
        assert_without_store(client, world)
        shutil.rmtree(folder, ignore_errors=True)
        copy.rename(folder)
        assert client.recommend(user_id=USER).live_history == COUNTED
        assert client.record_watched(USER, {6: 1}).recorded == 2


def test_a_record_that_was_changed_is_not_taken_for_what_was_recorded(serve, world, tmp_path):
    with running(serve, str(tmp_path / "histories")) as client:
        data = tmp_path / "histories" / "data.mdb"
        kept = data.read_bytes().replace(np.float32(9).tobytes(), np.float32(2).tobytes())
        with data.open("r+b") as file:
            file.write(kept)
        reply = client.recommend(user_id=USER)
        assert_same(reply, world.rank(Query(user_id=USER, top_k=10)))
        assert reply.live_history == UNAVAILABLE
        with pytest.raises(BackendUnavailable):
            client.record_watched(USER, {6: 1})
        assert client.record_watched(40, {6: 1}).recorded == 1
        client.forget(USER)
        assert_same(client.recommend(user_id=USER), world.rank(Query(top_k=10)))


def test_a_store_that_is_locked_is_read_and_takes_writes_when_it_is_free(
    serve, tmp_path, monkeypatch
):
    monkeypatch.setattr("handlers.histories.commits.WRITE_S", 0.3)
    folder = tmp_path / "histories"
    with running(serve, str(folder)) as client:
        command = [sys.executable, "-c", LOCKED, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            assert client.recommend(user_id=USER).live_history == COUNTED
            for name, anime in (("a", 9), ("b", 6)):
                with pytest.raises(BackendUnavailable):
                    client.record_watched(USER, {anime: 1}, name)
            other.kill()  # with the lock, which is free again
        assert client.record_watched(USER, {6: 1}, "b").recorded == 2
        assert [item.anime_id for item in client.get_history(USER).items][-2:] == [3, 6]


def test_a_store_that_is_full_is_read_and_still_forgets(tmp_path):
    async def fill() -> None:
        histories = Histories(open_store(str(tmp_path / "histories"), 1))
        taken = 0
        for user in range(1, 200):
            with contextlib.suppress(BackendUnavailable):
                await histories.record(watched(user, range(1, 1_001), "a"))
                taken = user
        with pytest.raises(BackendUnavailable, match="full"):
            await histories.record(watched(taken + 1, range(1, 1_001), "a"))
        assert 50 < taken < 70  # of 16 KB, in a MiB
        for user in range(1, taken + 1):
            _, live = await histories.counted(Query(user_id=user))
            assert live == LiveHistory.COUNTED
        for user in range(10_000, 10_100):  # of whom nothing is there to be removed
            await histories.forget(user)
        assert await histories.forget(1) == 1_000
        assert await histories.forget(2) == 1_000
        await histories.record(watched(taken + 1, range(1, 1_001), "a"))
        await histories.close()

    asyncio.run(fill())


def test_a_folder_that_holds_something_else_or_another_schema_is_refused(tmp_path):
    other, newer, mine = (tmp_path / name for name in ("other", "newer", "mine"))
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(HistoriesError, match=r"holds notes.txt, and no store of histories"):
        open_store(str(other), 1)
    asyncio.run(open_store(str(newer), 1).close())
    with lmdb.open(str(newer), max_dbs=3) as env, env.begin(write=True) as transaction:
        transaction.put(b"schema", b"2", db=env.open_db(b"meta", transaction))
    with pytest.raises(HistoriesError, match="schema 2, this version of anirank reads 1"):
        open_store(str(newer), 1)
    with pytest.raises(HistoriesError, match=r"no store of histories, it has no data.mdb"):
        open_store(str(mine), 1, create=False)
    mine.mkdir()
    (mine / "data.mdb").write_bytes(b"\xa5" * 16_384)
    with pytest.raises(HistoriesError, match="cannot be opened as a store"):
        open_store(str(mine), 1)


def test_a_redis_that_is_killed_is_done_without_until_it_is_back(serve, world, redis_server):
    with running(serve, redis_server.url) as client:
        redis_server.kill()
        assert_without_store(client, world)
        redis_server.start()
        until(lambda: client.recommend(user_id=USER).live_history == COUNTED)
        assert client.record_watched(USER, {6: 1}).recorded == 2
        assert not client.get_history(GONE).items


def test_a_redis_that_hangs_holds_up_a_read_for_a_moment_and_the_next_not_at_all(
    serve, world, redis_server, monkeypatch
):
    monkeypatch.setattr("handlers.histories.redis_store.WRITE_S", 0.5)
    with running(serve, redis_server.url) as client:
        redis_server.stop()
        assert_without_store(client, world)
        redis_server.resume()
        until(lambda: client.recommend(user_id=USER).live_history == COUNTED)


def test_a_redis_that_is_full_is_read_and_takes_no_writes(serve, redis_server):
    with running(serve, redis_server.url) as client:
        with redis.Redis.from_url(redis_server.url) as server:
            server.config_set("maxmemory", 1)
        assert client.recommend(user_id=USER).live_history == COUNTED
        with pytest.raises(BackendUnavailable):
            client.record_watched(USER, {6: 1}, "a")
        with redis.Redis.from_url(redis_server.url) as server:
            server.config_set("maxmemory", 0)
        assert client.record_watched(USER, {6: 1}, "a").repeated is False


def test_a_redis_that_is_not_there_at_the_start_is_done_without_until_it_is(redis_server):
    redis_server.kill()

    async def look() -> None:
        histories = Histories(open_store(redis_server.url, 1))
        await histories.check()
        assert (await histories.counted(Query(user_id=1)))[1] == LiveHistory.UNAVAILABLE
        redis_server.start()
        assert (await histories.record(watched(1, [3]))).recorded == 1
        await histories.check()
        assert histories.well
        await histories.close()

    asyncio.run(look())


def test_a_redis_that_would_lose_what_it_answers_is_named_at_the_start(redis_server, caplog):
    with redis.Redis.from_url(redis_server.url) as server:
        server.config_set("appendfsync", "everysec")
    with caplog.at_level(logging.WARNING):
        asyncio.run(_check(redis_server.url))
    [line] = caplog.messages
    assert "may lose what it has answered: appendfsync is everysec, should be always" in line


def test_a_redis_of_another_schema_is_refused(redis_server):
    with redis.Redis.from_url(redis_server.url) as server:
        server.set("anirank:histories:schema", 2)
    with pytest.raises(HistoriesError, match="schema 2, this version of anirank reads 1"):
        asyncio.run(_check(redis_server.url))


async def _check(url: str) -> None:
    histories = Histories(open_store(url, 1))
    try:
        await histories.check()
    finally:
        await histories.close()


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_many_writers_of_one_user_lose_nothing_and_a_bad_one_touches_no_other(
    kind, tmp_path, request
):
    place = str(tmp_path / "h") if kind == "lmdb" else request.getfixturevalue("redis_server").url

    async def write() -> None:
        histories = Histories(open_store(place, 16), most=40)
        writes = [histories.record(watched(1, [anime], str(anime))) for anime in range(1, 33)]
        bad = histories.record(watched(1, range(100, 200)))
        *gathered, refused = await asyncio.gather(*writes, bad, return_exceptions=True)
        assert isinstance(refused, InvalidQuery)
        answers = [answer for answer in gathered if isinstance(answer, Recorded)]
        assert sorted(answer.recorded for answer in answers) == list(range(1, 33))
        query, _ = await histories.counted(Query(user_id=1))
        assert sorted(query.recorded_ids.tolist()) == list(range(1, 33))
        again = await asyncio.gather(
            *(histories.record(watched(1, [anime], str(anime))) for anime in range(1, 33))
        )
        assert all(answer.repeated for answer in again)
        await histories.close()

    asyncio.run(write())


def test_writers_at_once_share_commits(tmp_path):
    async def write() -> int:
        kept = lmdb_store.LmdbStore(tmp_path / "histories", 1)
        histories = Histories(kept)
        before = kept._checked().env.info()["last_txnid"]
        await asyncio.gather(*(histories.record(watched(user, [3])) for user in range(1, 33)))
        after = kept._checked().env.info()["last_txnid"]
        await histories.close()
        return int(after - before)

    assert asyncio.run(write()) <= 8


def test_of_a_file_that_is_replaced_while_it_is_written_to_nothing_is_answered(
    tmp_path, monkeypatch
):
    folder = tmp_path / "histories"
    applied = lmdb_store._applied

    def and_removed(*arguments):
        shutil.rmtree(folder)
        return applied(*arguments)

    async def write() -> None:
        histories = Histories(open_store(str(folder), 1))
        monkeypatch.setattr(lmdb_store, "_applied", and_removed)
        with pytest.raises(BackendUnavailable):
            await histories.record(watched(1, [3]))
        await histories.close()

    asyncio.run(write())
