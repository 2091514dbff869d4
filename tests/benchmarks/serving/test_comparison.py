import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Outcome, Plan
from benchmarks.load.requests import RANK, Json, Proto
from benchmarks.load.transports import GrpcCaller
from benchmarks.load.workload import Lines, Workload
from benchmarks.serving import floors
from benchmarks.serving.comparison import compare, rows
from benchmarks.serving.goals import noise, verdicts
from benchmarks.serving.measurement import Effort, Measured, Run
from benchmarks.systems.processes import NotStarted, program
from benchmarks.systems.systems import SYSTEMS, Running, System, World
from bundles.bundle import Bundle

pytestmark = pytest.mark.slow  # each test trains, or starts programs

BY_KEY = {system.key: system for system in SYSTEMS}
SHORT = Effort(seconds=0.3, rounds=1, steps=2, warm_up_s=0.1)


@pytest.fixture(scope="module")
def world(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    bundle = Bundle.open(bundle_dir)
    workload = Workload(Lines.read("20"), Lines.read("5"), 4)
    asks = workload.asks(bundle.histories.user_id, bundle.catalogue.anime_id, 40)
    return World(bundle, asks, tmp_path_factory.mktemp("peers"))


def as_run(in_flight: int, rate: float, p50_ms: float, p99_ms: float) -> Run:
    outcome = Outcome(seconds=10, sent=int(rate * 10), all_calls=int(rate * 10), cpu_s=0.5)
    outcome.latencies = Latencies([p50_ms / 1e3] * 98 + [p99_ms / 1e3] * 2)
    return Run(Plan(10, in_flight=in_flight), outcome, 100.0)


def as_measured(key: str, lone_ms: float, rate: float, p99_ms: float = 10.0) -> Measured:
    closed = {1: [as_run(1, 100, lone_ms, lone_ms)], 32: [as_run(32, rate, 5.0, p99_ms)]}
    held = Run(Plan(1, rate=rate / 2), Outcome(seconds=1, asked=int(rate / 2)), 0.0)
    held.outcome.sent = held.outcome.asked
    return Measured(BY_KEY[key], closed, [held])


def test_a_system_that_does_not_start_says_so_and_the_others_go_on(
    facade: str, world: World
) -> None:
    @contextmanager
    def broken(world: World) -> Iterator[Running]:
        with program([sys.executable, "-c", "raise SystemExit('no such luck')"]) as started:
            started.wait_for_line("(ready)")
            raise AssertionError

    @contextmanager
    def stands(world: World) -> Iterator[Running]:
        yield Running(GrpcCaller(facade, RANK), Proto(), [])

    @contextmanager
    def speaks_otherwise(world: World) -> Iterator[Running]:
        yield Running(GrpcCaller(facade, RANK), Json(), [])

    systems = [
        System("plain", "broken", broken),
        System("rest", "otherwise", speaks_otherwise),
        System("facade", "stands", stands),
    ]
    found = compare(systems, world, SHORT, lambda _: None)
    assert "no such luck" in found["plain"].failed
    assert found["rest"].failed
    assert not found["facade"].failed
    assert found["facade"].same == (32, 32)
    assert found["facade"].rate(8) > 0
    assert 2 <= len(found["facade"].opened) <= 4  # a rate that is nearly held is tried again
    table = {line[0]: line for line in rows(found, {})}
    assert table["broken"][1] == "failed"
    content = json.loads(json.dumps({key: each.to_document() for key, each in found.items()}))
    [read] = content["facade"]["closed"]["8"]
    assert len(Latencies.decode(read["histogram"])) == read["answered"]


def test_the_echo_and_the_facade_are_started_measured_and_gone_afterwards(world: World) -> None:
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    found = compare([BY_KEY["echo"], BY_KEY["facade"]], world, SHORT, lambda _: None)
    assert not any(each.failed or each.faults() for each in found.values())
    assert found["echo"].same is None
    assert found["facade"].same == (32, 32)
    assert all(min(each.cpu_us(8)) > 0 for each in found.values())
    after = {
        each.pid
        for each in psutil.Process().children(recursive=True)
        if "resource_tracker" not in " ".join(each.cmdline())
    }
    assert after <= before


def test_the_floors_are_measured_on_the_same_requests(world: World) -> None:
    alone = floors.measure(world.bundle.folder, world.asks, 0.1)
    assert set(alone) == set(floors.NAMES)
    assert all(len(each) > 0 and each.ms(50) > 0 for each in alone.values())


def test_a_program_that_is_never_ready_is_not_waited_for_long() -> None:
    sleeper = "import time; print('hm', flush=True); time.sleep(600)"
    with (
        program([sys.executable, "-c", sleeper]) as started,
        pytest.raises(NotStarted, match="hm"),
    ):
        started.wait_for_line("(ready)", start_s=1.0)
    assert not psutil.pid_exists(started.pid)


def test_each_goal_is_judged_by_its_ratio() -> None:
    def judged(**changes: Measured) -> dict[str, bool | None]:
        measured = {
            "echo": as_measured("echo", 0.5, 4_000),
            "facade": as_measured("facade", 1.0, 2_000),
            "over": as_measured("over", 2.5, 1_900),
            "grpc": as_measured("grpc", 2.0, 1_000),
            "rest": as_measured("rest", 2.0, 900),
            "plain": as_measured("plain", 2.0, 300),
            "pytriton": as_measured("pytriton", 2.0, 800, 20.0),
        } | changes
        alone = {"onnx": Latencies([0.0004]), "engine": Latencies([0.0005])}
        return {each.goal: each.reached for each in verdicts(measured, alone)}

    assert set(judged().values()) == {True}

    def broken(**changes: Measured) -> str:
        return " | ".join(goal for goal, reached in judged(**changes).items() if not reached)

    assert "raw ONNX Runtime" in broken(facade=as_measured("facade", 1.2, 2_000))
    assert "of the echo" in broken(facade=as_measured("facade", 1.0, 1_700))
    assert "4 × p50" in broken(facade=as_measured("facade", 1.0, 2_000, 21.0))
    assert "plain handler" in broken(plain=as_measured("plain", 2.0, 400))
    assert "own batching, gRPC" in broken(grpc=as_measured("grpc", 2.0, 1_300))
    assert "own batching, REST" in broken(rest=as_measured("rest", 2.0, 1_300))
    assert "PyTriton" in broken(pytriton=as_measured("pytriton", 2.0, 1_950))
    assert "+ 0.7 ms" in broken(over=as_measured("over", 2.8, 1_900))
    assert "embedded: highest" in broken(plain=as_measured("plain", 2.0, 3_000))


def test_the_facade_is_compared_with_itself() -> None:
    facade, again = as_measured("facade", 1.0, 2_000), as_measured("again", 1.1, 1_600)
    assert "p50 with 1 10%" in noise({"facade": facade, "again": again})
    assert "answers/s with 32 25%" in noise({"facade": facade, "again": again})
    assert "not measured" in noise({"facade": facade})


def test_what_was_not_measured_is_not_judged() -> None:
    failed = Measured(BY_KEY["pytriton"], failed="failed: not to be had")
    found = verdicts({"over": as_measured("over", 2.5, 1_900), "pytriton": failed}, {})
    assert {each.reached for each in found} == {None}


def test_a_failure_in_a_later_round_leaves_what_was_measured_before() -> None:
    over, plain = as_measured("over", 2.5, 1_900), as_measured("plain", 2.0, 300)
    plain.failed = "failed: in the second round"
    reached = [each.reached for each in verdicts({"over": over, "plain": plain}, {})]
    assert reached.count(True) == 2  # the ratio of the two, and the highest rate
    assert rows({"plain": plain}, {})[0][1].startswith("2.00")


def test_a_rate_is_held_only_without_a_fault() -> None:
    def run(p99_ms: float = 10.0, **given: object) -> Run:
        settings = {"seconds": 1.0, "asked": 100, "sent": 100} | given
        outcome = Outcome(**settings, latencies=Latencies([p99_ms / 1e3] * 100))  # type: ignore[arg-type]
        return Run(Plan(1, rate=100), outcome, 0.0)

    assert run().holds
    assert not run(p99_ms=21.0).holds
    assert not run(unfinished=1).holds
    assert not run(wrong=1).holds
    assert not run(overwhelmed=True).holds
    assert not run(sent=90).holds
