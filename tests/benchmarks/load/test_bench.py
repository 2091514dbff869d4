import json
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from benchmarks.load.latencies import Latencies
from tests.benchmarks.conftest import serving

pytestmark = pytest.mark.slow  # each test trains, or starts programs


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


def test_a_facade_that_asks_for_tls_and_a_token_is_measured_too(
    bundle_dir: Path, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("a-token-of-this-test-0123456789-abcdef\n")
    with serving(
        bundle_dir.parents[1],
        *("--tls-cert", tmp_path / "certificate.pem", "--tls-key", tmp_path / "key.pem"),
        *("--tokens", tmp_path / "token"),
    ) as address:
        shown = ("--tls-ca", tmp_path / "ca.pem", "--token-file", tmp_path / "token")
        few = ("--address", address, "--seconds", "0.5", "--warm-up", "0", "--candidates", "9")
        figures = tmp_path / "figures.json"
        done = bench(*few, *shown, "--json", figures)
        assert done.returncode == 0, done.stderr
        assert json.loads(figures.read_text())["run"]["answered"] > 0
        assert bench(*few).returncode == 2
        assert bench(*few, "--tls-cert", tmp_path / "certificate.pem").returncode == 2


def test_a_facade_that_is_not_there_is_one_line() -> None:
    done = bench("--address", "127.0.0.1:9", "--seconds", "1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
