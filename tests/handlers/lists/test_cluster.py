"""Lists by the workers of Ray, some of which are killed."""

import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from bundles.files import stamp_of
from tests.anirank.program import anirank
from tests.running.waiting import PATIENCE_S

USERS, BLOCK = 8_000, 100
CLUSTER = """
import ray
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=128 * 2**20)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two cores, as a process that has it as its own; with its address."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_AUTH_MODE", "token")  # as who joins by address has to say
        environment.setenv("RAY_AUTH_TOKEN", "0" * 64)
        with subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                lines = iter(process.stdout.readline, "")
                yield process, next(line.strip() for line in lines if line[:1].isdigit())
            finally:
                process.communicate("\n", timeout=60)


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    file = tmp_path_factory.mktemp("users") / "users.txt"
    np.savetxt(file, np.arange(1, USERS + 1), fmt="%d")
    return file


@pytest.fixture(scope="module")
def alone(toy_dir, users):
    """The same lists, made in one process."""
    folder = users.parent / "alone"
    done = anirank("lists", toy_dir, folder, "--users", users, "--block", str(BLOCK), "--local")
    assert done.returncode == 0, done.stderr
    return contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def begun(cluster, toy_dir, folder, users):
    """A job of two workers that has made some blocks and not all; and its workers."""
    process, address = cluster
    command = [sys.executable, "-m", "anirank", "lists", toy_dir, folder, "--users", users]
    command += ["--block", str(BLOCK), "--workers", "2", "--address", address]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        try:
            until = time.monotonic() + PATIENCE_S
            while not any(folder.glob("block-*")) and time.monotonic() < until:
                assert job.poll() is None, job.communicate()
                time.sleep(0.01)
            yield job, workers_of(process)
        finally:
            job.kill()


def workers_of(process):
    """The processes in which blocks are made."""
    found = []
    for each in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            # That of a process which has just ended is empty.
            found += [each] if "MapWorker" in " ".join(each.cmdline()[:1]) else []
    return found


def test_a_killed_worker_loses_nothing_and_every_user_has_one_row(
    cluster, toy_dir, users, alone, tmp_path
):
    folder = tmp_path / "lists"
    with begun(cluster, toy_dir, folder, users) as (job, workers):
        assert len(workers) == 2
        workers[0].kill()
        made = len(list(folder.glob("block-*")))
        assert made < USERS // BLOCK
        said, errors = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, errors
    assert f": {USERS:,} users in {USERS // BLOCK} files\n" in said
    assert contents(folder) == alone
    assert pq.read_table(folder)["user_id"].to_pylist() == list(range(1, USERS + 1))


def test_a_killed_job_goes_on_with_what_is_missing(cluster, toy_dir, users, alone, tmp_path):
    folder = tmp_path / "lists"
    with begun(cluster, toy_dir, folder, users) as (job, _):
        job.kill()
        job.wait()
    ending = time.monotonic() + PATIENCE_S
    while workers_of(cluster[0]) and time.monotonic() < ending:
        time.sleep(0.05)
    before = {path: stamp_of(path) for path in folder.glob("block-*")}
    assert 0 < len(before) < USERS // BLOCK
    done = anirank("lists", toy_dir, folder, "--users", users, "--block", str(BLOCK), "--local")
    assert f"{USERS // BLOCK} files, {len(before)} of them there before" in done.stdout
    assert contents(folder) == alone
    assert {path: stamp_of(path) for path in before} == before


def test_a_worker_that_cannot_open_the_bundle_is_told_in_one_line(cluster, toy_dir, tmp_path):
    program = """
import sys
from pathlib import Path
import numpy as np
from anirank.errors import ListsError
from bundles.bundle import Bundle
from handlers.lists.cluster import Cluster
from handlers.lists.job import Job, Source
toy, folder, address = sys.argv[1:]
job = Job(Path(folder), Source.of(Bundle.open(Path(toy))), np.arange(9), 10, 3)
job.begin()
try:
    with Cluster(address, 1) as cluster:
        list(cluster.make_all(job, Path("absent")))
except ListsError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, toy_dir, tmp_path / "lists", cluster[1]]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    absent = tmp_path / "absent/manifest.json"
    assert done.stdout == f"{absent}: cannot be read (No such file or directory)\n", done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1"])
def test_an_address_without_a_cluster_is_told_in_one_line(toy_dir, tmp_path, address):
    done = anirank("lists", toy_dir, tmp_path / "lists", "--address", address)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"anirank: {address}: Ray cannot be reached (")
    assert "Traceback" not in done.stderr
