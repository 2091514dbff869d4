import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.load.latencies import Latencies
from benchmarks.load.loops import Outcome, Plan
from benchmarks.load.requests import RANK, Json, Proto
from benchmarks.load.transports import GrpcCaller
from benchmarks.load.workload import Lines, Workload
from benchmarks.serving import floors, report
from benchmarks.serving.goals import Noise, noise, verdicts
from benchmarks.serving.measurement import IN_FLIGHT, LIMIT_MS, Figure, Measured, Run
from benchmarks.serving.rounds import Comparison, Effort, Lineup, compare, order
from benchmarks.serving.search import Search
from benchmarks.systems.processes import NotStarted, cpu_s, program
from benchmarks.systems.systems import SYSTEMS, Running, System, World
from bundles.bundle import Bundle

pytestmark = pytest.mark.slow  # each test trains, or starts programs

BY_KEY = {system.key: system for system in SYSTEMS}
SHORT = Effort(seconds=0.3, rounds=2, probes=1, warm_up_s=0.1, floor_s=0.1, idle_s=0.1)
POLLER = "print('ready', flush=True)\nwhile True: pass"
LARGEST = 300_000  # bytes of a tracked figure; see tests/docs/test_links.py


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


def as_measured(
    key: str, lone_ms: float, rate: float, p99_ms: float = 10.0, *, own_mb: float = 90.0
) -> Measured:
    """Of three rounds, on a machine that was half as fast in the last of them."""
    closed: dict[int, dict[int, Run]] = {1: {}, 32: {}}
    for number, slower in enumerate((1, 1.1, 2)):
        closed[1][number] = as_run(1, 100, lone_ms * slower, lone_ms * slower)
        closed[32][number] = as_run(32, rate / slower, 5.0, p99_ms)
    return Measured(BY_KEY[key], closed, settled(rate / 2), own_mb=(own_mb, 2 * own_mb))


def settled(limit: float, probes: int = 15, stalls: frozenset[int] = frozenset()) -> Search:
    """A search on what holds every rate up to `limit`, but for probes that met a stall."""
    search = Search(limit * 1.3)
    for number in range(probes):
        search.add(search.rate <= limit and number not in stalls, LIMIT_MS)
    return search


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
        System("litserve", "otherwise", speaks_otherwise),
        System("facade", "stands", stands),
    ]
    comparison = compare(systems, world, SHORT, lambda _: None)
    found = comparison.systems
    assert "no such luck" in found["plain"].failed
    assert found["litserve"].failed
    assert not found["facade"].failed
    assert found["facade"].same == (32, 32)
    assert found["facade"].closed[8].keys() == {0, 1}
    assert found["facade"].search is not None
    assert len(found["facade"].search.probes) == 2
    assert set(comparison.floors) == set(floors.NAMES)
    assert all(each.ms(50) > 0 for each in comparison.floors["engine"].values())
    [_, latency, *_] = report.tables(comparison, [])
    assert {row[0]: row[1] for row in latency.rows}["broken"] == "failed"


def test_the_echo_and_the_facade_are_started_measured_and_gone_afterwards(world: World) -> None:
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    systems = [BY_KEY["echo2"], BY_KEY["facade"]]
    found = compare(systems, world, SHORT, lambda _: None).systems
    assert not any(each.failed or each.faults() for each in found.values())
    assert found["echo2"].same is None
    assert found["echo2"].search is None
    assert found["facade"].same == (32, 32)
    assert all(each.server_us(8).median > 0 for each in found.values())
    assert all(each.own_mb and 0 < each.own_mb[0] <= each.own_mb[1] for each in found.values())
    after = {
        each.pid
        for each in psutil.Process().children(recursive=True)
        if "resource_tracker" not in " ".join(each.cmdline())
    }
    assert after <= before


def test_what_polls_is_halted_between_its_turns_and_ends_nevertheless(
    facade: str, world: World
) -> None:
    pids = []

    @contextmanager
    def polls(world: World) -> Iterator[Running]:
        with program([sys.executable, "-c", POLLER]) as poller:
            poller.wait_for_line("(ready)")
            pids.append(poller.pid)
            yield Running(GrpcCaller(facade, RANK), Proto(), [poller.pid], polls=True)

    found = {"litserve": Measured(System("litserve", "polls", polls))}
    with Lineup(found, world, lambda _: None) as lineup:
        turn = lineup.turns["litserve"]
        turn.halt()
        time.sleep(0.05)  # the signal is on its way
        before = cpu_s(pids)
        time.sleep(0.3)
        assert cpu_s(pids) == before
        turn.go_on()
        time.sleep(0.3)
        assert cpu_s(pids) > before
        turn.halt()
    assert not psutil.pid_exists(pids[0])


def test_each_load_of_each_round_has_an_order_of_its_own() -> None:
    keys = list(BY_KEY)
    orders = {tuple(order(keys, number, load)) for number in range(5) for load in range(6)}
    assert len(orders) == 30
    assert all(sorted(each) == sorted(keys) for each in orders)


def test_a_search_settles_at_what_is_held_though_probes_met_stalls() -> None:
    quiet, stalled = settled(1_000), settled(1_000, stalls=frozenset({2, 9}))
    for search in (quiet, stalled):
        assert Figure(search.rates()).median == pytest.approx(1_000, rel=0.1)
    far = Search(1_000)
    for _ in range(15):
        far.add(far.rate <= 30, LIMIT_MS)
    assert Figure(far.rates()).median == pytest.approx(30, rel=0.1)


def test_a_search_in_which_nothing_held_finds_no_rate() -> None:
    search = Search(100)
    search.add(False, 50.0)
    assert search.rates() == {}
    search.add(True, 5.0)
    assert 50 <= Figure(search.rates()).median <= 100


def test_figures_of_a_round_are_set_against_those_of_the_same_round() -> None:
    own, other = Figure({0: 100.0, 1: 50.0, 2: 90.0}), Figure({0: 50.0, 1: 25.0, 3: 1.0})
    assert own.times(other).by_round == {0: 2.0, 1: 2.0}
    assert own.above(other).by_round == {0: 50.0, 1: 25.0}
    assert own.median == 90
    assert own.text(".0f") == "90 (70–95)"
    assert not Figure({}).times(own)


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
            "facade": as_measured("facade", 0.9, 2_000),
            "over": as_measured("over", 2.5, 1_800),
            "plain": as_measured("plain", 2.0, 300),
            "pytriton": as_measured("pytriton", 2.0, 600, 20.0),
            "litserve": as_measured("litserve", 2.0, 500, 20.0),
        } | changes
        alone = {"engine": 0.17, "batch": 0.14, "recommendation": 1.9}
        by_round = {key: {0: Latencies([ms / 1e3])} for key, ms in alone.items()}
        found = verdicts(Comparison(measured, by_round))
        return {each.goal: each.reached for each in found if "2 workers" not in each.goal}

    assert set(judged().values()) == {True}
    assert len(judged()) == 11

    def broken(**changes: Measured) -> str:
        return " | ".join(goal for goal, reached in judged(**changes).items() if not reached)

    assert "+ 0.5 ms" in broken(facade=as_measured("facade", 1.1, 2_000))
    assert "of the echo" in broken(facade=as_measured("facade", 0.9, 1_700))
    assert "the best peer, PyTriton" in broken(pytriton=as_measured("pytriton", 2.0, 850))
    assert "the best peer's, LitServe" in broken(litserve=as_measured("litserve", 2.0, 700))
    assert "3 × the plain handler" in broken(plain=as_measured("plain", 2.0, 610))
    assert "2 × PyTriton" in broken(over=as_measured("over", 2.5, 1_100))
    assert "+ 1.5 ms" in broken(over=as_measured("over", 3.6, 1_800))
    assert "own memory" in broken(facade=as_measured("facade", 0.9, 2_000, own_mb=121.0))


def test_systems_are_judged_beside_those_of_as_many_workers() -> None:
    measured = {
        "facade": as_measured("facade", 0.9, 1_000),
        "facade2": as_measured("facade2", 0.9, 2_000),
        "plain2": as_measured("plain2", 2.0, 500),
    }
    found = {each.goal: each.reached for each in verdicts(Comparison(measured))}
    [one] = [goal for goal in found if "1 worker, 32 in flight: ≥ 2.5" in goal]
    [two] = [goal for goal in found if "2 workers, 32 in flight: ≥ 2.5" in goal]
    assert found[one] is None
    assert found[two] is True


def test_a_run_in_which_the_facade_is_far_from_itself_says_what_it_cannot_tell() -> None:
    facade = as_measured("facade", 1.0, 2_000)
    loud = noise({"facade": facade, "again": as_measured("again", 1.1, 1_600)})
    assert loud.loud["answers/s"] == pytest.approx(0.25, rel=1e-3)
    assert "too noisy to tell differences below 10% in p50, 10% in p99, 25% in" in str(loud)
    quiet = noise({"facade": facade, "again": as_measured("again", 1.02, 2_010)})
    assert quiet.apart["p50"] == pytest.approx(0.02, abs=0.002)
    assert not quiet.loud
    assert "too noisy" not in str(quiet)
    assert "not measured" in str(noise({"facade": facade}))


def test_what_was_not_measured_is_not_judged() -> None:
    failed = Measured(BY_KEY["pytriton"], failed="failed: not to be had")
    measured = {"over": as_measured("over", 2.5, 1_900), "pytriton": failed}
    assert {each.reached for each in verdicts(Comparison(measured))} == {None}


def test_a_failure_in_a_later_round_leaves_what_was_measured_before() -> None:
    over, plain = as_measured("over", 2.5, 1_900), as_measured("plain", 2.0, 300)
    plain.failed = "failed: in the second round"
    comparison = Comparison({"over": over, "plain": plain})
    reached = [each.reached for each in verdicts(comparison)]
    assert reached.count(True) == 2
    [_, latency, *_] = report.tables(comparison, [])
    assert latency.rows[1][1].startswith("2.20 (2.10–3.10)")


def test_a_whole_run_is_written_within_the_size_of_a_figure(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    latencies = [Latencies(random.gamma(3, 0.005, 1_000)) for _ in range(5)]
    found = {key: Measured(system, search=settled(500)) for key, system in BY_KEY.items()}
    for each in found.values():
        for in_flight in IN_FLIGHT:
            for number in range(5):
                run = as_run(in_flight, 300, 1, 1)
                run.outcome.latencies = latencies[number]
                each.closed.setdefault(in_flight, {})[number] = run
    comparison = Comparison(found)
    judged, apart = verdicts(comparison), Noise({"p50": 0.3})
    report.write(tmp_path, comparison, judged, apart, {"machine": {}}, "One run.")
    assert all(file.stat().st_size < LARGEST for file in tmp_path.iterdir())
    page = (tmp_path / "comparison.md").read_text("utf-8")
    assert "too noisy to tell differences below 30% in p50" in page
    content = json.loads((tmp_path / "comparison.json").read_text("utf-8"))
    assert content["a_a"]["cannot_tell_below"] == {"p50": 0.3}
    assert len(content["verdicts"]) == len(judged)
    closed = content["systems"]["facade"]["closed"]["32"]
    assert closed["p50_ms"]["quartiles"][0] <= closed["p50_ms"]["median"]
    assert len(Latencies.decode(closed["histogram"])) == 5_000


def test_a_rate_is_held_only_without_a_fault() -> None:
    def run(p99_ms: float = 10.0, **given: object) -> Run:
        settings = {"seconds": 1.0, "asked": 100, "sent": 100} | given
        latencies = Latencies([p99_ms / 1e3] * 100)
        outcome = Outcome(**settings, latencies=latencies)  # type: ignore[arg-type]  # of mixed types
        return Run(Plan(1, rate=100), outcome, 0.0)

    assert run().holds
    assert not run(p99_ms=21.0).holds
    assert not run(unfinished=1).holds
    assert not run(wrong=1).holds
    assert not run(overwhelmed=True).holds
    assert not run(sent=90).holds
