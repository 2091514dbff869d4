"""Workers whose temporary folder is full, and has room again."""

import contextlib
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from anirank.client.sync import Client
from anirank.errors import InvalidQuery
from handlers.facade.telemetry.metric_files import KINDS
from tests.handlers.facade.test_shutdown import until
from tests.handlers.facade.workers.test_supervisor import versions, workers_of
from tests.running.program import line_of
from tests.toy.bundle import publish

pytestmark = pytest.mark.slow  # it starts programs

MOUNT = 'mount -t tmpfs -o size=32m none "$0" && exec "$@"'  # in a namespace, without being root


@pytest.fixture
def small(tmp_path):
    """A folder, and what makes it one of 32 MiB for the program that is run behind it."""
    folder = tmp_path / "small"
    folder.mkdir()
    within = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(folder)]
    try:
        tried = subprocess.run([*within, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if tried.returncode:
        pytest.skip(f"no file system of its own for a process here: {tried.stderr.strip()}")
    return folder, within


def fill(path):
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))


def test_workers_with_metrics_outlive_a_full_disk_and_serve_what_comes_once_there_is_room(
    store, next_dir, small, tmp_path, monkeypatch
):
    folder, within = small
    monkeypatch.setenv("TMPDIR", str(folder))
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--workers", "2", "--watch"]
    command += ["--metrics-address", "127.0.0.1:0"]
    log = tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*within, *command], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            address = line_of(process).split(" on ")[1].split(",")[0]
            page = line_of(process).split()[-1]
            inside = Path(f"/proc/{process.pid}/root{folder}")
            written = {path.name.rpartition("_")[0] for path in inside.glob("anirank-metrics-*/*")}
            assert written == {*KINDS}
            before = workers_of(process)
            fill(inside / "filler")
            with Client(address) as client:
                assert client.recommend(top_k=3).ranking
                with pytest.raises(InvalidQuery):  # a series that was not there yet
                    client.rank([3], history={3: 99.0})
            publish(next_dir, store, "2")
            until(lambda: "not free; tried again later" in log.read_text())
            assert versions(address) == {"1"}
            assert workers_of(process) == before
            (inside / "filler").unlink()
            until(lambda: versions(address) == {"2"})
            fill(inside / "filler")
            before[0].kill()
            until(lambda: "this worker has no metrics" in log.read_text())
            until(lambda: len(workers_of(process)) == 2)
            assert versions(address) == {"2"}
            assert b"anirank_requests_total" in urllib.request.urlopen(page, timeout=60).read()
            assert log.read_text().count("another is started in") == 1
            process.terminate()
            assert process.wait(60) == 0
        except BaseException:
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
            process.kill()
            raise
