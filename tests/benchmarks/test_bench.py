import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.histogram import Latencies


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "anirank", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("load", [("--rate", "30"), ("--in-flight", "3")])
def test_anirank_bench_measures_a_facade(
    load: tuple[str, str], facade: str, tmp_path: Path
) -> None:
    (tmp_path / "counts.txt").write_text("5\n40\n")
    figures, plot = tmp_path / "figures.json", tmp_path / "plot.png"
    done = bench(
        *("--address", facade, *load, "--seconds", "1", "--warm-up", "0.2", "--top", "4"),
        *("--candidates", tmp_path / "counts.txt", "--history", "6"),
        *("--json", figures, "--plot", plot),
    )
    assert done.returncode == 0, done.stderr
    assert "p99" in done.stdout
    assert plot.read_bytes()[:4] == b"\x89PNG"
    content = json.loads(figures.read_text())
    run = content["run"]
    assert run["failed"] == {}
    assert run["wrong"] == run["unfinished"] == 0
    assert run["answered"] > 0
    assert (run["rate_asked"] is None) is (load[0] == "--in-flight")
    assert content["machine"]["cores"] >= 1
    # The figures are those of the histogram beside them.
    read = Latencies.decode(run["histogram"])
    assert len(read) == run["answered"]
    assert read.ms(99) == run["ms"]["p99"]


def test_a_facade_that_is_not_there_is_one_line() -> None:
    done = bench("--address", "127.0.0.1:9", "--seconds", "1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
