"""A store that somebody else writes to, badly or in bad faith."""

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.errors import BundleError
from handlers.facade.health import STORE
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from tests.handlers.facade.versions.test_reload import look_at, nothing, rewrite
from tests.handlers.facade.versions.watching import RESPONSE, come, errors_of, serves, soon, watch
from tests.running.program import run_serve


def test_a_folder_of_any_name_is_no_version_and_ends_nothing(store):
    def arrive():
        for name in ("²", "x y", "--", "１", "2²"):
            shutil.copytree(store / "toy" / "1", store / "toy" / name)
        come(store)

    assert look_at(store, arrive) == [["2"]]


def deep(folder):
    value: Any = 1
    for _ in range(200):
        value = {"deeper": value}
    rewrite(folder, lambda manifest: manifest["metrics"].update(test=value))


def a_pipe(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def a_signature_that_is_a_pipe(folder):
    os.mkfifo(folder / "manifest.json.sig")


def half_a_character(folder):
    rewrite(folder, lambda manifest: manifest.update(label="\ud800"))


def beta(value):
    return lambda folder: rewrite(folder, lambda manifest: manifest["score"].update(beta=value))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (deep, r"manifest\.json: not JSON \(is nested more than 32 deep\)"),
        (a_pipe, r"manifest\.json: cannot be read \(is not a file\)"),
        (half_a_character, r"manifest\.json: not JSON \(.*surrogates not allowed"),
        (beta(float("nan")), r"manifest\.json: not JSON \(.*not JSON compliant"),
        (beta(float("-inf")), r"manifest\.json: not JSON \(.*not JSON compliant"),
        (beta(1e300), r"manifest\.json: beta is 1e\+300, should be a number that float32 can hold"),
        (beta(3e38), r"2: the graph's scores are not finite"),
        (beta("0.5"), r"manifest\.json: beta is '0.5', should be a number"),
    ],
)
def test_whatever_is_wrong_with_a_version_is_one_line_and_the_old_one_serves_on(
    store, caplog, change, said
):
    assert look_at(store, lambda: change(come(store)), nothing) == [["1"], ["1"]]
    [line] = errors_of(caplog)
    assert re.match(r"version 2 is refused, 1 serves on: ", line)
    assert re.search(said, line)


def test_the_watcher_outlives_a_store_that_cannot_be_read_and_says_so(store, caplog):
    away = store.with_name("away")

    def spoil():
        store.rename(away)
        store.mkdir()
        (store / "toy").symlink_to("toy")  # OSError: too many levels of symbolic links

    def mend():
        shutil.rmtree(store)
        away.rename(store)
        come(store)

    watch(
        store,
        [
            (spoil, lambda roster: not roster.followed),
            (mend, serves("2")),
            (nothing, lambda roster: roster.followed),
        ],
    )
    assert [line[:12] for line in errors_of(caplog)] == ["1 serves on:"]


def test_a_version_that_goes_while_it_is_looked_at_ends_nothing(store):
    program = (
        "import shutil, sys\n"
        "for _ in range(300):\n"
        "    shutil.copytree(sys.argv[1], sys.argv[2]); shutil.rmtree(sys.argv[2])\n"
    )
    run = [sys.executable, "-c", program, store / "toy" / "1", store / "toy" / "9"]
    with contextlib.ExitStack() as started:
        processes: list[subprocess.Popen[bytes]] = []
        watch(
            store,
            [
                (
                    lambda: processes.append(started.enter_context(subprocess.Popen(run))),
                    lambda roster: processes[0].poll() == 0,
                ),
                (lambda: come(store), serves("2")),
            ],
            every_s=0.001,
        )


def test_without_files_left_a_version_is_tried_again_and_served_once_there_are_some(store, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spent = contextlib.ExitStack()

    def spend():
        come(store)
        used = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        with contextlib.suppress(OSError):
            while True:
                spent.callback(os.close, os.open("/dev/null", os.O_RDONLY))

    def give_back():
        spent.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    try:
        watch(
            store,
            [
                (spend, lambda roster: any("oo many open" in line for line in errors_of(caplog))),
                (give_back, serves("2")),
            ],
        )
    finally:
        give_back()


def test_a_version_for_which_there_is_no_room_is_tried_again_and_named(store, caplog):
    def too_large():
        folder = come(store)
        listed = {"sha256": "0" * 64, "bytes": 2**60}
        rewrite(folder, lambda manifest: manifest["files"].update({"vocabularies.json": listed}))

    assert look_at(store, too_large, nothing) == [["1"], ["1"]]
    [line] = errors_of(caplog)
    assert re.search(r"a copy needs [\d.]+ MB, which are not free; tried again later$", line)


def test_health_says_whether_the_store_is_followed(store):
    def status(channel, service):
        asked = health_pb2.HealthCheckRequest(service=service)
        return HealthStub(channel).Check(asked, timeout=30).status

    options = ("--watch", "--metrics-address", "127.0.0.1:0")
    with (
        run_serve(store, *options) as (process, address, _),
        grpc.insecure_channel(address) as channel,
    ):
        assert status(channel, STORE) == RESPONSE.SERVING
        store.rename(store.with_name("away"))
        soon(lambda: status(channel, STORE) == RESPONSE.NOT_SERVING)
        assert status(channel, "") == RESPONSE.SERVING
        store.with_name("away").rename(store)
        soon(lambda: status(channel, STORE) == RESPONSE.SERVING)
        process.terminate()
        process.wait(60)
        assert process.communicate()[1].count('"level": "ERROR"') == 1


def test_a_manifest_says_each_thing_once(store):
    path = store / "toy" / "1" / "manifest.json"
    text = path.read_text()
    assert json.loads(text)["version"] == "1"
    path.write_text(text.replace('"version":', '"version": "9", "version":', 1))
    with pytest.raises(BundleError, match="key 'version' stands twice in one object"):
        asyncio.run(Loader(Settings(store=store, name="toy")).load("1", apart=False))
