import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable
from tests.running.program import line_of, run_serve

pytestmark = pytest.mark.slow  # each test starts programs

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# `anirank` with a graph that computes nothing while a file is there, and says that it was asked.
PROGRAM = """
import sys, time
from pathlib import Path
from anirank.cli.app import main
from handlers.engine import onnx_graph

held = Path(sys.argv.pop(1))

class Held(onnx_graph.OnnxGraph):
    def run(self, inputs):
        while held.exists():
            held.with_suffix(".arrived").touch()
            time.sleep(0.01)
        return super().run(inputs)

onnx_graph.OnnxGraph = Held
main()
"""


class Gate:
    """Holds the graph of `PROGRAM`."""

    def __init__(self, folder):
        self.file = folder / "gate"
        self.program = ("-c", PROGRAM, self.file)

    def shut(self):
        self.file.touch()

    def open(self):
        self.file.unlink()

    def wait(self):
        until(self.file.with_suffix(".arrived").exists)


def until(true, patience_s=60):
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read(url):
    return urllib.request.urlopen(url, timeout=60).read().decode()


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


class Watched:
    """The health that a façade says, as it says it."""

    def __init__(self, address):
        self.states = []
        self.changed: queue.Queue[int] = queue.Queue()
        self.thread = threading.Thread(target=self.watch, args=(address,))
        self.thread.start()
        assert self.changed.get(timeout=60) == SERVING

    def watch(self, address):
        with grpc.insecure_channel(address) as channel:
            try:
                for reply in HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                    self.states.append(reply.status)
                    self.changed.put(reply.status)
            except grpc.RpcError:
                return


def test_what_is_computed_queued_or_taken_up_by_a_stream_ends_before_the_exit(store, gate):
    with (
        run_serve(store, "--metrics-address", "127.0.0.1:0", program=gate.program) as (
            process,
            address,
            _,
        ),
        grpc.insecure_channel(address) as channel,
        Client(address, timeout_s=60) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        metrics = line_of(process).split()[-1]
        health, more = Watched(address), threading.Event()

        def requests():
            for place in range(3):
                yield pb.RankStreamRequest(id=place, rank=pb.RankRequest(candidate_ids=[3]))
            more.wait(60)

        stream = RankingServiceStub(channel).RankStream(requests())
        assert next(stream).HasField("reply")  # so the others are taken up
        assert len([next(stream), next(stream)]) == 2
        gate.shut()
        calls = [threads.submit(client.rank, [3]) for _ in range(8)]
        gate.wait()
        until(lambda: "anirank_requests_in_flight 8.0" in read(metrics))  # seven in the queue
        process.send_signal(signal.SIGTERM)
        assert health.changed.get(timeout=60) == NOT_SERVING
        with pytest.raises(grpc.RpcError, match="the server ends") as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not any(call.done() for call in calls)
        gate.open()
        assert all(len(call.result().ranking) == 1 for call in calls)
        more.set()
        assert process.wait(60) == 0
        health.thread.join(60)
        assert health.states == [SERVING, NOT_SERVING]


def test_what_has_not_ended_within_the_grace_period_is_cut_off_and_the_exit_is_clean(store, gate):
    with (
        run_serve(store, "--grace", "0.5", program=gate.program) as (process, address, _),
        Client(address, timeout_s=60) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        client.rank([3])
        gate.shut()
        calls = [threads.submit(client.rank, [3]) for _ in range(4)]
        gate.wait()
        process.send_signal(signal.SIGTERM)
        assert all(isinstance(call.exception(60), BackendUnavailable) for call in calls)
        assert process.wait(60) == 0  # though the graph still computes


def test_a_second_signal_ends_at_once(store, gate):
    with (
        run_serve(store, "--grace", "3600", program=gate.program) as (process, address, _),
        Client(address, timeout_s=60) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        health = Watched(address)
        gate.shut()
        call = threads.submit(client.rank, [3])
        gate.wait()
        process.send_signal(signal.SIGTERM)
        assert health.changed.get(timeout=60) == NOT_SERVING
        assert not call.done()
        process.send_signal(signal.SIGINT)
        assert isinstance(call.exception(60), BackendUnavailable)
        assert process.wait(60) == 0
        health.thread.join(60)


def test_a_facade_that_is_told_to_end_while_it_loads_never_serves(store, gate):
    gate.shut()
    command = [sys.executable, *map(str, gate.program), "serve", "--store", str(store)]
    command += ["--name", "toy", "--address", "127.0.0.1:0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        gate.wait()
        process.send_signal(signal.SIGTERM)
        gate.open()
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
