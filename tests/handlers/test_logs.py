import json
import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from handlers import logs

PROGRAM = """
import asyncio, logging, sys, warnings
from handlers import logs
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
        faults.met("backend", "TorchServe is gone")
    now[0] += 12.5
    assert faults.any
    faults.over("backend")
    faults.over("backend")
    assert not faults.any
    assert lines(caplog) == [
        (logging.ERROR, "backend", 1, None),
        (logging.WARNING, "backend", 1_000, 12.5),
    ]
    assert caplog.messages == ["TorchServe is gone", "backend is over"]


def test_an_outage_that_lasts_is_told_again_with_how_many_met_it(faults, caplog):
    faults, now = faults
    for _ in range(100):
        faults.met("backend", "TorchServe is gone")
        now[0] += 1.0
    assert [count for _, _, count, _ in lines(caplog)] == [1, 30, 30, 30]


def test_a_fault_that_comes_and_goes_does_not_fill_the_log(faults, caplog):
    faults, now = faults
    for _ in range(1_000):
        faults.met("overload", "256 wait already", logging.WARNING)
        faults.over("overload")
        now[0] += 0.05
    assert len(caplog.records) == 4  # in 50 s: its begin and its end, twice


def test_faults_of_different_kinds_do_not_hide_each_other(faults, caplog):
    faults, _ = faults
    faults.met("backend of version 1", "gone")
    faults.met("backend of version 2", "gone too")
    faults.over("backend of version 1")
    assert faults.any
    assert len(caplog.records) == 3
