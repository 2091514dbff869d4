import json
import logging
import re
import socket
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime

import grpc
import pytest

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable, InvalidQuery, Unauthenticated
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.telemetry import logs
from tests.running.calls import status_of_call
from tests.running.program import line_of, run_serve

PROGRAM = """
import asyncio, logging, sys, warnings
from handlers.facade.telemetry import logs
logs.start(sys.argv[1])
logging.getLogger("handlers.requests").debug("one\\ntwo", extra={"code": "OK", "total_ms": 1.5})
logging.getLogger("grpc").info("of a library")
logging.getLogger("grpc").debug("too much of a library")
warnings.warn("a warning")
async def main():
    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "of asyncio", "exception": ValueError("x")})
asyncio.run(main())
"""


def written(level):
    command = [sys.executable, "-c", PROGRAM, level]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_one_json_object_whoever_wrote_it():
    request, library, warning, of_asyncio = written("debug")
    assert request["message"] == "one\ntwo"
    assert (request["level"], request["logger"]) == ("DEBUG", "handlers.requests")
    assert (request["code"], request["total_ms"]) == ("OK", 1.5)
    assert (library["logger"], library["message"]) == ("grpc", "of a library")
    assert "a warning" in warning["message"]
    assert of_asyncio["message"] == "of asyncio"
    assert "ValueError: x" in of_asyncio["exc_info"]
    for line in (request, library, warning, of_asyncio):
        time = datetime.fromisoformat(line["time"])
        assert time.tzinfo == UTC
        assert abs((datetime.now(UTC) - time).total_seconds()) < 300


@pytest.mark.slow
def test_each_level_lets_through_what_is_as_grave():
    assert [line["logger"] for line in written("info")] == ["grpc", "py.warnings", "asyncio"]
    assert [line["logger"] for line in written("warning")] == ["py.warnings", "asyncio"]
    assert [line["logger"] for line in written("error")] == ["asyncio"]


@pytest.fixture
def faults():
    """The faults, and the clock they go by as a list of one number."""
    now = [100.0]
    return logs.Faults(lambda: now[0]), now


def lines(caplog):
    return [(r.levelno, r.fault, r.requests, getattr(r, "seconds", None)) for r in caplog.records]


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_is_over(faults, caplog):
    faults, now = faults
    for _ in range(1_000):
        faults.record("backend", "TorchServe is gone")
        now[0] += 0.01
    faults.clear("backend")  # while others still meet it
    assert faults.active
    now[0] += logs.QUIET_S
    faults.clear("backend")
    faults.clear("backend")
    assert not faults.active
    assert lines(caplog) == [
        (logging.ERROR, "backend", 1, None),
        (logging.WARNING, "backend", 1_000, 9.99),
    ]
    assert caplog.messages == ["TorchServe is gone", "backend is over"]


def test_an_outage_that_lasts_is_told_again_with_how_many_met_it(faults, caplog):
    faults, now = faults
    for _ in range(100):
        faults.record("backend", "TorchServe is gone")
        now[0] += 1.0
    assert [count for _, _, count, _ in lines(caplog)] == [1, 30, 30, 30]


def test_a_fault_that_comes_and_goes_does_not_fill_the_log(faults, caplog):
    faults, now = faults
    for number in range(10_000):
        if number % 1_000 == 0:
            now[0] += logs.QUIET_S
        if number % 2:
            faults.record("overload", "256 wait already", logging.WARNING)
        faults.clear("overload")
        now[0] += 0.001
    assert len(caplog.records) == 4  # in 60 s: its begin and its end, twice


def test_faults_of_different_kinds_do_not_hide_each_other(faults, caplog):
    faults, now = faults
    faults.record("backend of version 1", "gone")
    faults.record("backend of version 2", "gone too")
    now[0] += logs.QUIET_S
    faults.clear("backend of version 1")
    assert faults.active
    assert len(caplog.records) == 3


def requests_seen(caplog):
    return [record for record in caplog.records if record.name == "handlers.requests"]


def test_a_request_is_one_line_at_debug_with_its_id_and_times(serve, caplog):
    caplog.set_level(logging.DEBUG, "handlers.requests")
    with Client(serve()) as client:
        reply = client.rank([3, 6], user_id=20, top_k=1)
        client.recommend(history={3: 9.0})
        client.recommend()
        client.model_info()
        with pytest.raises(InvalidQuery):
            client.rank([3], history={3: 11})
    ranked, with_history, new, info, refused = requests_seen(caplog)
    assert ranked.getMessage() == "Rank OK"
    assert (ranked.method, ranked.code, ranked.model_version) == ("Rank", "OK", "1")
    assert (ranked.candidates, ranked.top_k, ranked.user) == (2, 1, "known")
    assert ranked.queue_ms == pytest.approx(reply.queue_time.ToNanoseconds() / 1e6, abs=1e-3)
    assert ranked.compute_ms == pytest.approx(reply.compute_time.ToNanoseconds() / 1e6, abs=1e-3)
    assert ranked.total_ms >= ranked.compute_ms
    assert ranked.peer.startswith("ipv4:127.0.0.1:")
    assert (with_history.user, with_history.candidates) == ("new_with_history", None)
    assert new.user == "new"
    assert (info.method, info.code) == ("GetModelInfo", "OK")
    assert (refused.code, refused.field) == ("INVALID_ARGUMENT", "history[0].rating")
    assert len({record.request_id for record in requests_seen(caplog)}) == 5
    text = " ".join(formatter_line(record) for record in requests_seen(caplog))
    assert "user_id" not in text
    assert "20" not in {str(value) for value in vars(ranked).values()}


def formatter_line(record):
    line = logs.formatter().format(record)
    assert "\n" not in line
    json.loads(line)
    return line


def test_no_request_leaves_a_line_at_info(serve, caplog):
    caplog.set_level(logging.INFO, "handlers.requests")
    with Client(serve()) as client:
        client.rank([3])
        with pytest.raises(InvalidQuery):
            client.rank([])
    assert requests_seen(caplog) == []


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("order-66/b", True),
        ("a" * 128, True),
        ("two words", True),
        ("a" * 129, False),
        ("", False),
        (None, False),
    ],
)
def test_a_callers_request_id_comes_back_with_every_end_and_another_is_made(
    serve, caplog, given, taken
):
    caplog.set_level(logging.DEBUG, "handlers.requests")
    metadata = None if given is None else (("x-request-id", given),)
    with grpc.insecure_channel(serve()) as channel:
        stub = RankingServiceStub(channel)
        ends = [stub.Rank.with_call(pb.RankRequest(candidate_ids=[3]), metadata=metadata)[1]]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Rank(pb.RankRequest(), metadata=metadata)
        ends.append(caught.value)
        requests = [pb.RankStreamRequest(id=7, rank=pb.RankRequest(candidate_ids=[3]))]
        stream = stub.RankStream(iter(requests), metadata=metadata)
        assert len(list(stream)) == 1
        ends.append(stream)
    said = [dict(end.trailing_metadata())["x-request-id"] for end in ends]
    if taken:
        assert said == [given] * 3
    else:
        assert len(set(said)) == 3
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in said)
    written = [record.request_id for record in requests_seen(caplog)]
    assert written == [said[0], said[1], f"{said[2]}/7"]
    assert status_of_call(caught.value) is not None  # the id does not displace the details


def test_a_backend_that_is_gone_is_one_line_for_all_who_meet_it(serve, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    keys = tmp_path / "key_file.json"
    keys.write_text('{"inference": {"key": "s3cret-key"}}')
    address = serve(
        backend=lambda: TorchServeBackend("127.0.0.1:1", name="toy", version="1", key_file=keys)
    )
    with Client(address) as client:
        for _ in range(20):
            with pytest.raises(BackendUnavailable):
                client.rank([3])
    grave = [record for record in caplog.records if record.levelno >= logging.WARNING]
    # That no call is made meanwhile, and that requests fail by it.
    assert [record.name for record in grave] == [
        "handlers.facade.backends.torchserve",
        "handlers.facade.telemetry.logs",
    ]
    assert all("TorchServe at 127.0.0.1:1" in record.message for record in grave)
    assert "s3cret-key" not in caplog.text


@pytest.mark.slow
def test_serve_says_where_its_metrics_are_and_writes_json_and_no_secret(store, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("a-secret-of-many-letters\n")
    options = ["--metrics-address", "127.0.0.1:0", "--log-level", "debug", "--tokens", str(tokens)]
    with run_serve(store, *options) as (process, address, said):
        assert said == f"toy 1 on {address}, computed by onnxruntime\n"
        shown = re.fullmatch(r"metrics on (http://127.0.0.1:\d+/metrics)\n", line_of(process))
        assert shown is not None
        with Client(address, token="a-secret-of-many-letters") as client:
            client.rank([3])
        stranger = Client(address, token="another-secret-of-theirs")
        with stranger, pytest.raises(Unauthenticated):
            stranger.rank([3])
        with urllib.request.urlopen(shown[1], timeout=30) as page:
            text = page.read().decode()
        assert 'anirank_requests_total{code="OK",method="Rank"} 1.0' in text
        assert 'anirank_requests_total{code="UNAUTHENTICATED",method="Rank"} 1.0' in text
        process.terminate()
        _, log = process.communicate(timeout=60)
    [line] = [json.loads(line) for line in log.splitlines()]
    assert (line["logger"], line["method"], line["code"]) == ("handlers.requests", "Rank", "OK")
    assert "secret" not in log + text


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_an_address_of_the_metrics_in_use_is_one_clear_error(store, workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "anirank", "serve", "--store", store, "--name", "toy"]
        command += ["--address", "127.0.0.1:0", "--metrics-address", address, *workers]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"anirank: {address}: in use, or not an address of this machine\n"


UNREAD = """
import logging, os, sys, threading, time
from handlers.facade.telemetry import logs
logs.start("debug")
log = logging.getLogger("handlers.requests")
began = time.monotonic()
for number in range(20_000):
    log.debug("line %d of many, and long enough to fill a pipe", number)
print(f"{time.monotonic() - began:.1f}", flush=True)
sys.stdin.readline()
time.sleep(0.5)
log.debug("the last")
"""


def test_a_log_that_nobody_reads_holds_up_nothing_and_says_what_was_dropped():
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert float(line_of(process)) < 30  # it does not wait for the reader
        _, written = process.communicate("read\n", timeout=60)
    lines = [json.loads(line) for line in written.splitlines()]
    told = [line["message"] for line in lines if "were dropped" in line["message"]]
    dropped = sum(int(line.split()[0]) for line in told)
    assert dropped >= 20_000 - logs.MOST_LINES - 1_000
    assert len(lines) - len(told) + dropped == 20_001
    assert lines[-1]["message"] == "the last"


@pytest.mark.slow
def test_a_facade_whose_log_nobody_reads_answers_and_ends(toy_dir):
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(toy_dir.parents[1])]
    command += ["--name", "toy", "--address", "127.0.0.1:0", "--log-level", "debug"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        found = re.search(r" on (\S+),", line_of(process))
        assert found is not None
        with Client(found[1], timeout_s=30) as client:
            for _ in range(1_000):
                client.rank([3])  # each a line of some 400 bytes; a pipe holds 64 KiB
        process.terminate()
        assert process.wait(30) == 0
