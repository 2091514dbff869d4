"""Answered writes outlive the processes; what one worker wrote, all others count."""

import contextlib
import signal
import subprocess
import sys
import threading

import pytest

from anirank.client.requests import record_request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import ServingError
from tests.handlers.facade.test_shutdown import until
from tests.handlers.facade.workers.test_supervisor import connections, workers_of
from tests.running.program import line_of, run_serve

pytestmark = pytest.mark.slow  # each test starts programs

WRITERS, USER = 8, 20


@pytest.fixture(params=["lmdb", "redis"])
def place(request, tmp_path):
    if request.param == "lmdb":
        return str(tmp_path / "histories")
    return request.getfixturevalue("redis_server").url


def serving(store, place):
    command = ["-m", "anirank", "serve", "--store", store, "--name", "toy", "--histories", place]
    return subprocess.Popen(
        [sys.executable, *map(str, command), "--address", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    )


class Writer(threading.Thread):
    """Records one anime after the other until the server is gone; which were answered."""

    def __init__(self, address: str, user: int) -> None:
        super().__init__()
        self.user, self.answered = user, 0
        self._address = address
        self.start()

    def run(self) -> None:
        with Client(self._address) as client, contextlib.suppress(ServingError):
            for anime in range(1, 2_000):
                client.record_watched(self.user, {anime: 5.0}, str(anime))
                self.answered = anime


def assert_all_there(address: str, writers: list[Writer]) -> None:
    with Client(address) as client:
        for writer in writers:
            items = [item.anime_id for item in client.get_history(writer.user).items]
            assert items in (
                list(range(1, writer.answered + 1)),
                list(range(1, writer.answered + 2)),  # which was on disk, and not yet answered
            )


def test_what_was_answered_is_there_after_kill_9_of_the_server(store, place):
    for round_ in range(2):  # the second with what the first left
        users = range(1 + 100 * round_, 1 + 100 * round_ + WRITERS)
        with serving(store, place) as process:
            address = line_of(process).split(" on ")[1].split(",")[0]
            writers = [Writer(address, user) for user in users]
            until(lambda of=writers: min(writer.answered for writer in of) > 5)
            process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.join()
    with run_serve(store, "--histories", place) as (_, address, _):
        assert_all_there(address, writers)
        with Client(address) as client:  # sent again, as its sender does who had no answer
            again = client.record_watched(users[0], {writers[0].answered: 5.0}, "1")
            assert again.recorded in (writers[0].answered, writers[0].answered + 1)


def test_what_was_answered_is_there_after_kill_9_of_redis(store, redis_server):
    with run_serve(store, "--histories", redis_server.url) as (_, address, _):
        writers = [Writer(address, user) for user in range(1, 1 + WRITERS)]
        until(lambda: min(writer.answered for writer in writers) > 5)
        redis_server.kill()
        for writer in writers:
            writer.join()
        redis_server.start()
        with Client(address) as client:
            until(lambda: client.get_history(1).live_history == pb.LIVE_HISTORY_COUNTED)
        assert_all_there(address, writers)


def test_what_one_worker_wrote_every_other_counts_even_one_that_is_new(store, place):
    with run_serve(store, "--histories", place, "--workers", "2") as (process, address, _):
        with connections(address, 16) as stubs:
            for anime, stub in enumerate(stubs, start=1):
                stub.RecordWatched(record_request(USER, {3 * anime: 5.0}), timeout=60)
                for other in (stubs[0], stubs[-1], stubs[anime // 2]):
                    seen = other.GetHistory(pb.GetHistoryRequest(user_id=USER), timeout=60)
                    assert seen.items[-1].anime_id == 3 * anime
            asked = pb.RecommendRequest(user_id=USER, top_k=60)
            replies = [stub.Recommend(asked, timeout=60) for stub in stubs]
            for reply in replies:
                assert reply.live_history == pb.LIVE_HISTORY_COUNTED
                assert not {3 * n for n in range(1, 17)} & {a.anime_id for a in reply.ranking}
                assert reply.ranking == replies[0].ranking
            workers = workers_of(process)
            served = [len(of.net_connections()) for of in workers]
            assert min(served) > 1, "one worker had all connections"
            stubs[3].Forget(pb.ForgetRequest(user_id=USER), timeout=60)
            for stub in stubs:
                assert not stub.GetHistory(pb.GetHistoryRequest(user_id=USER), timeout=60).items
        for worker in workers:
            worker.kill()
            until(lambda of=worker: not of.is_running())
        with connections(address, 4) as stubs:
            for stub in stubs:
                ask = pb.RecommendRequest(user_id=USER)
                reply = stub.Recommend(ask, timeout=60, wait_for_ready=True)
                assert reply.familiarity == pb.FAMILIARITY_NEW
