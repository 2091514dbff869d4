import sys
from pathlib import Path

import pytest

from benchmarks.load.loops import Event, Outcome, Plan
from benchmarks.serving.copies import Copies
from benchmarks.serving.memory import Weight, own_mb, weighed
from benchmarks.serving.reload import Reload, Switch, windows
from benchmarks.serving.soak import Soak
from benchmarks.systems.processes import program
from bundles.bundle import Bundle

PARENT = """
import subprocess, sys
ballast = bytearray(b"x" * 32 * 2**20)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
child.wait()
"""
MAPPED = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
assert sum(mapped[::4096]) == 0  # every page is in memory
ballast = bytearray(b"x" * 32_000_000)
print("ready", flush=True)
import time; time.sleep(600)
"""
FLAT = [(float(at), 300.0 + at % 7) for at in range(100)]


def soaked(memory: list[tuple[float, float]] = FLAT, **given: object) -> Soak:
    outcome = Outcome(**({"seconds": 100.0, "sent": 1000} | given))  # type: ignore[arg-type]  # of mixed types
    weights = [Weight(at, {"façade": mib}, 2 if mib > 200 else 1) for at, mib in memory]
    return Soak(Plan(100, rate=10), outcome, 14.0, weights)


def test_a_copy_is_a_whole_bundle_of_the_next_version(bundle_dir: Path, tmp_path: Path) -> None:
    before = {path: path.stat() for path in bundle_dir.rglob("*")}
    copies = Copies(Bundle.open(bundle_dir), tmp_path)
    copies.stage(1)
    assert Bundle.latest(tmp_path, copies.name).manifest.version == "1"
    assert copies.publish() == "2"
    newest = Bundle.latest(tmp_path, copies.name)  # which verifies every file
    assert newest.manifest.version == "2"
    assert newest.manifest.files == Bundle.open(bundle_dir).manifest.files
    assert (tmp_path / f"{copies.name}.mar").is_file()
    after = {path: path.stat() for path in bundle_dir.rglob("*")}
    assert [each.st_ctime_ns for each in after.values()] == [
        each.st_ctime_ns for each in before.values()
    ]
    copies.withdraw("1")
    assert [path.name for path in (tmp_path / copies.name).iterdir()] == ["2"]


def test_only_promised_errors_are_let_pass() -> None:
    assert soaked(failed={"UNAVAILABLE": 3, "RESOURCE_EXHAUSTED": 1}).faults() == []
    assert "INTERNAL" in soaked(failed={"INTERNAL": 1, "UNAVAILABLE": 3}).faults()[0]
    assert "never answered" in soaked(unfinished=2).faults()[0]
    assert "wrong" in soaked(wrong=1, checked=20).faults()[0]


def test_memory_is_flat_or_it_is_not() -> None:
    growing = [(float(at), 300.0 + at) for at in range(100)]
    assert "memory grew" in soaked(growing).faults()[0]
    # It may grow until it has settled, and a restarted worker may dent it.
    settling = [(at, 100.0 + 8 * at if at < 24 else mib) for at, mib in FLAT]
    dented = [(at, 150.0 if at % 30 < 14 else mib) for at, mib in FLAT]
    assert soaked(settling).faults() == []
    assert soaked(dented).faults() == []


def test_p99_of_the_calls_due_in_a_switch_is_told_apart() -> None:
    quiet = [Event(at / 100, 0.010) for at in range(1_000)]
    troubled = [Event(10 + at / 100, 0.015) for at in range(200)]
    later = [Event(15 + at / 100, 0.500) for at in range(100)]
    outcome = Outcome(seconds=20, asked=1_300, sent=1_300, timeline=quiet + troubled + later)
    found = Reload(Plan(20, rate=65), outcome, [Switch("2", 10.0, 12.0)], 130.0)
    assert len(found.before()) == 1_000
    assert len(found.during()) == 200
    assert found.times == pytest.approx(1.5, rel=0.01)
    assert found.held
    outcome.failed["UNAVAILABLE"] = 1
    assert not found.held


def test_windows_part_calls_by_when_they_were_due() -> None:
    middles, p99 = windows([(0.1, 5.0), (0.2, 7.0), (1.4, 9.0)], 1.0)[99]
    assert middles == [0.5, 1.5]
    assert p99 == [5.0, 9.0] or p99 == [7.0, 9.0]


def test_processes_are_weighed_with_all_that_they_started() -> None:
    with program([sys.executable, "-c", PARENT]) as parent:
        parent.wait_for_line("(ready)")
        weight = weighed(parent.pid)
    assert weight.processes == 2
    assert weight.total > 32


def test_what_is_mapped_from_a_file_is_no_memory_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(64_000_000))
    with program([sys.executable, "-c", MAPPED, tmp_path / "file"]) as mapping:
        mapping.wait_for_line("(ready)")
        largest, everything = own_mb([mapping.pid])
    assert 32 < largest == everything < 64
