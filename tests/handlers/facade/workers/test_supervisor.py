import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable, TorchServeError
from export.archive import pack
from handlers.engine.query import Query
from handlers.facade import capacity
from handlers.torchserve.server import TorchServe
from tests.handlers.facade.test_shutdown import until
from tests.handlers.facade.versions.test_reload import damage
from tests.running.program import line_of, run_serve
from tests.toy.bundle import publish

pytestmark = pytest.mark.slow  # each test starts programs


@contextmanager
def connections(address, count):
    """Stubs of so many connections; the kernel gives each to one of the workers."""
    channels = [
        grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(count)
    ]
    try:
        yield [RankingServiceStub(channel) for channel in channels]
    finally:
        for channel in channels:
            channel.close()


def versions(address, count=16):
    """The versions that so many new connections are answered by."""
    request = pb.RankRequest(candidate_ids=[3])
    with connections(address, count) as stubs:
        return {stub.Rank(request, timeout=60, wait_for_ready=True).model_version for stub in stubs}


def workers_of(process):
    return psutil.Process(process.pid).children()


def mapped(process):
    return {Path(entry.path).name for entry in process.memory_maps()}


def test_workers_share_a_port_and_the_arrays_of_the_bundle(store, world):
    with run_serve(store, "--workers", "2") as (process, address, said):
        assert said.startswith("toy 1 on 127.0.0.1:")
        workers = workers_of(process)
        assert len(workers) == 2
        with connections(address, 24) as stubs:
            for user, stub in enumerate(stubs):
                reply = stub.Recommend(pb.RecommendRequest(user_id=user * 10), timeout=60)
                expected = world.rank(Query(user_id=user * 10, top_k=10)).anime_ids.tolist()
                assert [entry.anime_id for entry in reply.ranking] == expected
            port = int(address.rpartition(":")[2])
            taken = [
                sum(c.status == "ESTABLISHED" and c.laddr.port == port for c in w.net_connections())
                for w in workers
            ]
            assert sum(taken) == 24
            assert all(taken)
        for worker in workers:
            assert any("cygrpc" in name for name in mapped(worker))
            assert {"anime_id.npy", "rating.npy", "weight.npy"} <= mapped(worker)
        assert not any("cygrpc" in name for name in mapped(psutil.Process(process.pid)))


def test_a_worker_that_is_killed_is_replaced_even_beside_a_corrupt_newer_version(store, next_dir):
    with run_serve(store, "--workers", "2") as (process, address, _):
        publish(next_dir, store, "2")
        damage(store / "toy" / "2" / "ranker.onnx")
        before = workers_of(process)
        before[0].kill()
        until(lambda: before[0] not in workers_of(process) and len(workers_of(process)) == 2)
        [new] = [worker for worker in workers_of(process) if worker not in before]
        until(lambda: any(c.status == "LISTEN" for c in new.net_connections()))
        assert versions(address) == {"1"}
        before[1].kill()  # now only the new one answers
        assert versions(address) == {"1"}
        until(lambda: before[1] not in workers_of(process) and len(workers_of(process)) == 2)
        process.terminate()
        _, said = process.communicate(timeout=60)
    pauses = [part.split(" s")[0] for part in said.split("another is started in ")[1:]]
    assert pauses == ["0.1", "0.1"]  # each worker has its own


def test_a_worker_that_is_stopped_is_replaced(store):
    program = (
        "from anirank.cli.app import main; from handlers.facade.workers import supervisor; "
        "supervisor.HUNG_S = 2.0; main()"
    )
    with run_serve(store, "--workers", "2", program=("-c", program)) as (process, address, _):
        stopped, other = workers_of(process)
        stopped.suspend()
        until(lambda: stopped not in workers_of(process) and len(workers_of(process)) == 2)
        [new] = [worker for worker in workers_of(process) if worker not in (stopped, other)]
        until(lambda: any(c.status == "LISTEN" for c in new.net_connections()))
        assert versions(address) == {"1"}
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert f"worker {stopped.pid} has given no sign of life for 2 s; it is killed" in said


def test_sighup_reaches_every_worker(store, next_dir):
    with run_serve(store, "--workers", "2") as (process, address, _):
        publish(next_dir, store, "2")
        assert versions(address) == {"1"}
        process.send_signal(signal.SIGHUP)
        until(lambda: versions(address) == {"2"})


def test_on_sigterm_all_workers_end_what_they_have_begun(store):
    with run_serve(store, "--workers", "2") as (process, address, _):
        workers, asked = workers_of(process), []

        def ask(client):
            try:
                while True:
                    assert len(client.rank([3]).ranking) == 1
                    asked.append(client)
            except BackendUnavailable as error:
                return str(error)

        with ExitStack() as open_, ThreadPoolExecutor(8) as threads:
            clients = [open_.enter_context(Client(address, timeout_s=60)) for _ in range(8)]
            ends = [threads.submit(ask, client) for client in clients]
            until(lambda: set(clients) <= set(asked))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert all(end.result() for end in ends)
        assert not any(worker.is_running() for worker in workers)


def test_workers_end_with_a_parent_that_is_killed(store):
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "toy 1 on" in line_of(process)
        workers = workers_of(process)
        process.kill()
    _, alive = psutil.wait_procs(workers, 60)
    assert not alive


def test_workers_share_one_torchserve_that_their_parent_starts(store, world):
    pack(store / "toy" / "1", store, "toy", "1")
    with run_serve(store, "--workers", "2", "--backend", "torchserve") as (process, address, _):
        children = psutil.Process(process.pid).children(recursive=True)
        assert sum(child.name() == "java" for child in children) == 1
        with connections(address, 8) as stubs:
            for user, stub in enumerate(stubs):
                reply = stub.Recommend(pb.RecommendRequest(user_id=user * 10), timeout=60)
                expected = world.rank(Query(user_id=user * 10, top_k=10)).anime_ids.tolist()
                assert [entry.anime_id for entry in reply.ranking] == expected
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("count", ["1", "2"])
def test_told_to_end_while_its_torchserve_starts_it_leaves_nothing_behind(store, count):
    pack(store / "toy" / "1", store, "toy", "1")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--backend", "torchserve", "--workers", count]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        parent = psutil.Process(process.pid)
        until(lambda: any(child.name() == "java" for child in parent.children(recursive=True)))
        children = parent.children(recursive=True)
        process.terminate()
        assert process.communicate(timeout=60)[0] == ""
        assert process.returncode == 0
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--backend", "torchserve", "--address", "127.0.0.1:0"),
        ("torchserve", "--rest-port", "0", "--grpc-port", "0"),
    ],
    ids=["serve", "torchserve"],
)
def test_a_torchserve_ends_with_whoever_started_it_is_killed_and_its_folder_goes(store, command):
    pack(store / "toy" / "1", store, "toy", "1")
    whole = [sys.executable, "-m", "anirank", *command, "--store", str(store), "--name", "toy"]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, text=True) as process:
        parent = psutil.Process(process.pid)
        # What starts it, Java, and a worker of Java's.
        until(lambda: len(parent.children(recursive=True)) >= 3)
        left = parent.children(recursive=True)
        folder = Path(left[0].cwd())
        process.kill()
    _, alive = psutil.wait_procs(left, 10)
    assert not alive
    assert folder.is_dir()
    with pytest.raises(TorchServeError, match="cannot be read"):
        TorchServe(store / "none.mar")  # a start that goes no further than to clean up
    assert not folder.exists()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "reuse_port"])
def test_an_address_in_use_is_one_line_and_exit_code_2(store, shared):
    with socket.socket() as taken:
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(store, "--address", address, "--workers", "2")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"anirank: {address}: in use, or not an address of this machine\n"


def test_workers_that_cannot_start_are_one_line_and_exit_code_2(store):
    damage(store / "toy" / "1" / "ranker.onnx")
    ended = run(store, "--address", "127.0.0.1:0", "--workers", "2")
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("anirank: ")
    assert "ranker.onnx: SHA-256 is" in line


def run(store, *options):
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)


def test_the_parent_shows_the_metrics_of_all_workers_as_sums(store):
    options = ("--workers", "2", "--metrics-address", "127.0.0.1:0")
    with run_serve(store, *options) as (process, address, _):
        url = line_of(process).split()[-1]
        assert versions(address, 16) == {"1"}
        page = urllib.request.urlopen(url, timeout=60).read().decode()
        assert 'anirank_requests_total{code="OK",method="Rank"} 16.0' in page


def test_a_connection_to_one_of_several_is_opened_again_and_no_call_fails(serve, monkeypatch):
    monkeypatch.setattr(capacity, "SHARED_AGE_MS", 100)
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(serve(shared=True)) as channel:
        channel.subscribe(states.append, try_to_connect=True)
        stub = RankingServiceStub(channel)
        end = time.monotonic() + 60
        while states.count(grpc.ChannelConnectivity.READY) < 3:
            assert time.monotonic() < end
            assert stub.Recommend(pb.RecommendRequest(top_k=1), timeout=30).ranking


def test_what_a_killed_parent_left_is_cleaned_up_at_the_next_start(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    options = ("--workers", "2", "--metrics-address", "127.0.0.1:0")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "toy 1 on" in line_of(process)
        workers = workers_of(process)
        process.kill()
    psutil.wait_procs(workers, 60)
    [left] = tmp_path.glob("anirank-metrics-*")
    with run_serve(store, *options):
        [now] = tmp_path.glob("anirank-metrics-*")
        assert now != left
        with run_serve(store, *options):  # which leaves alone what is in use
            assert len(list(tmp_path.glob("anirank-metrics-*"))) == 2
    assert not list(tmp_path.glob("anirank-metrics-*"))
