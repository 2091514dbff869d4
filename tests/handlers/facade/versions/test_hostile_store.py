"""A store that somebody else writes to, badly or in bad faith."""

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import onnx
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from onnx import TensorProto, helper

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import BundleError, SettingsError, SignatureError
from bundles import signature
from bundles.graph import INPUTS, OUTPUTS
from handlers.facade.health import STORE
from handlers.facade.settings import Settings
from handlers.facade.versions.copies import PREFIX, Copies
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import Reloader
from handlers.facade.versions.roster import Roster
from tests.bundles.test_signature import write_keys
from tests.handlers.facade.versions.test_reload import look_at, nothing, relist, rewrite
from tests.running.program import run_serve
from tests.toy.bundle import publish

RESPONSE = health_pb2.HealthCheckResponse


def come(store, version="2"):
    return publish(store / "toy" / "1", store, version)


def errors_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def soon(condition, patience_s=60):
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def never_ending(folder):
    """A graph with the right inputs and outputs, whose loop has no end."""
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}

    def ports(of):
        return [
            helper.make_tensor_value_info(name, types[port.type], [*port.shape])
            for name, port in of.items()
        ]

    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "body",
        [
            scalar("turn", TensorProto.INT64, []),
            scalar("go", TensorProto.BOOL, []),
            scalar("before", TensorProto.FLOAT, ["B", "N"]),
        ],
        [
            scalar("go_on", TensorProto.BOOL, []),
            scalar("after", TensorProto.FLOAT, ["B", "N"]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["candidate_ids"], ["start"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True])),
        helper.make_node("Loop", ["", "yes", "start"], ["rating"], body=body),
        helper.make_node("Identity", ["rating"], ["affinity"]),
        helper.make_node("Identity", ["rating"], ["wide"]),
        helper.make_node("Cast", ["rating"], ["known"], to=TensorProto.BOOL),
    ]
    graph = helper.make_graph(nodes, "never", ports(INPUTS), ports(OUTPUTS))
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "ranker.onnx")
    relist(folder, "ranker.onnx")
    (folder / "ranker-affinity.onnx").unlink()


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


def watch(store, steps, every_s=0.05, **settings):
    """Follow the store as a façade does, and take each step once the one before has its effect."""

    async def follow():
        loader = Loader(Settings(store=store, name="toy", **settings))
        roster, reloader = Roster(await loader.load("1", apart=False)), Reloader(loader, every_s)
        following = asyncio.create_task(reloader.follow(roster))
        for step, effect in steps:
            step()
            async with asyncio.timeout(60):
                while not effect(roster):
                    assert not following.done(), following.result()
                    await asyncio.sleep(0.05)
        following.cancel()
        await reloader.close()
        await roster.close()
        loader.close()

    asyncio.run(follow())


def serves(*names):
    return lambda roster: [version.name for version in roster.versions] == [*names]


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


def children():
    """The processes of this one; servers that other tests share are among them."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.slow
def test_a_load_that_hangs_is_ended_and_the_next_version_is_served(store, caplog):
    async def follow():
        loader = Loader(Settings(store=store, name="toy"))
        hasty = Loader(Settings(store=store, name="toy", load_s=4))
        roster = Roster(await loader.load("1", apart=False))
        never_ending(come(store))
        before = children()
        assert not await Reloader(hasty, None).check(roster, patient=False)
        assert children() <= before
        come(store, "3")
        reloader = Reloader(loader, None)
        assert await reloader.check(roster, patient=False)
        assert serves("3")(roster)
        await reloader.close()
        await roster.close()

    asyncio.run(follow())
    assert errors_of(caplog) == [
        f"version 2 is refused, 1 serves on: {store / 'toy' / '2'}: is not loaded after 4 s"
    ]


@pytest.mark.slow
def test_sigterm_ends_a_facade_at_once_whatever_hangs(store):
    with run_serve(store, "--watch") as (process, address, _):
        never_ending(come(store))
        soon(lambda: psutil.Process(process.pid).children())
        [trying] = psutil.Process(process.pid).children()
        time.sleep(3)
        with Client(address) as client:
            assert client.model_info().version == "1"
        started = time.monotonic()
        process.terminate()
        assert process.wait(60) == 0
        assert time.monotonic() - started < 10
        assert not trying.is_running()


@pytest.mark.slow
def test_sigterm_ends_a_facade_that_hangs_at_its_start(store):
    never_ending(store / "toy" / "1")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--engine", "onnxruntime"]
    with subprocess.Popen(command) as process:
        soon(lambda: psutil.Process(process.pid).cpu_times().user > 4)
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_start_that_hangs_ends_with_the_time_it_has(store):
    never_ending(store / "toy" / "1")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--load-limit", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "1: is not loaded after 3 s" in done.stderr


def cut_all(store):
    for path in store.rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            os.truncate(path, 0)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_who_cuts_the_served_files_short_ends_nothing(store, world, options):
    with run_serve(store, *options) as (process, address, _):
        cut_all(store)
        with Client(address, timeout_s=60) as client:
            for user in range(0, 400, 10):
                client.recommend(user_id=user, explain=True)
        if options:  # a worker that starts anew takes the copy of the others
            workers = psutil.Process(process.pid).children()
            for worker in workers:
                worker.kill()
            psutil.wait_procs(workers, 60)
            request = pb.RankRequest(candidate_ids=[3])
            with Client(address, timeout_s=60) as client:
                soon(lambda: answers(client, request))


def answers(client, request):
    with contextlib.suppress(Exception):
        return len(client.answer(request).ranking) == 1
    return False


def test_what_is_served_from_the_store_itself_is_what_was_verified(store):
    settings = Settings(store=store, name="toy", map_store=True)
    assert look_at(store, lambda: come(store), settings=settings) == [["2"]]

    def damaged():
        path = come(store, "3") / "catalogue" / "adult.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"\2")

    assert look_at(store, damaged, settings=settings) == [["2"]]


def test_a_copy_is_gone_when_its_version_is_let_go(store, tmp_path):
    copies = tmp_path / f"{PREFIX}shared"

    def copied(*names):
        return lambda roster: {path.name.split("-")[0] for path in copies.iterdir()} == {*names}

    steps = [
        (nothing, copied("1", "turn")),
        (lambda: come(store), serves("2")),
        (nothing, copied("2", "turn")),
    ]
    watch(store, steps, copies=tmp_path)
    assert copies.stat().st_mode & 0o777 == 0o700
    assert not [*copies.iterdir()]


def test_what_a_killed_process_has_left_the_next_one_removes(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = (
        "import os, signal\n"
        "from handlers.facade.versions.copies import Copies\n"
        "copies = Copies()\n"
        "(copies.scratch() / 'file').write_text('left')\n"
        "print(copies.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [str(path) for path in tmp_path.glob(f"{PREFIX}*")] == [done.stdout.strip()]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Copies() as first, Copies() as second:
        assert {*tmp_path.iterdir()} == {first.folder, second.folder}
        assert first.folder.stat().st_mode & 0o777 == 0o700
    assert not [*tmp_path.iterdir()]


def test_copies_are_made_in_no_folder_that_others_can_enter(tmp_path):
    (tmp_path / f"{PREFIX}shared").mkdir(mode=0o755)
    with pytest.raises(SettingsError, match="should be a folder of this user alone"):
        Copies(tmp_path)
    with pytest.raises(SettingsError, match=r"takes no copies of what is served .*; --copies"):
        Copies(Path("/dev/null/copies"))


def test_nothing_else_is_removed_from_a_folder_for_copies(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "mine").mkdir()
    with Copies(tmp_path) as copies, Copies(copies.folder) as same:
        assert copies.folder == same.folder
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}shared", "mine"}
    assert not [*copies.folder.iterdir()]


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


@pytest.fixture
def signed(store, tmp_path):
    """A store of which every version is signed, and a function that signs."""
    private, public = write_keys(tmp_path, "ours")
    signature.sign_bundle(store / "toy" / "1", private)
    return public, lambda folder: signature.sign_bundle(folder, private)


def test_what_is_signed_but_older_than_allowed_is_refused(store, signed):
    public, sign = signed
    old = {"store": store, "name": "toy", "trust": (public,)}

    async def load(**settings):
        loader = Loader(Settings(**old, **settings))
        await (await loader.load("1", apart=False)).close()
        loader.close()

    asyncio.run(load(not_before="1"))
    with pytest.raises(BundleError, match=r"1: is older than 1\.1, which --not-before says"):
        asyncio.run(load(not_before="1.1"))
    with pytest.raises(SignatureError, match=r"was exported on 2024.*--max-age allows 30 days"):
        asyncio.run(load(max_age_days=30))
    asyncio.run(load(max_age_days=100_000))
    rewrite(store / "toy" / "1", lambda manifest: manifest.update(created="2024"))
    sign(store / "toy" / "1")
    with pytest.raises(BundleError, match="created is '2024', should be a time"):
        asyncio.run(load(max_age_days=100_000))


def test_what_is_changed_after_it_was_checked_changes_nothing_for_who_trusts_a_key(store, signed):
    public, _ = signed
    settings = Settings(store=store, name="toy", trust=(public,))

    async def ask():
        loader = Loader(settings)
        version = await loader.load("1", apart=False)
        arrays = version.bundle.histories.anime_id, version.bundle.catalogue.anime_id
        before = [array.tobytes() for array in arrays]
        for path in (store / "toy" / "1").rglob("*.npy"):
            with path.open("r+b") as file:  # in place, as who maps it sees
                file.seek(-8, os.SEEK_END)
                file.write(b"\xff" * 8)
        assert [array.tobytes() for array in arrays] == before
        await version.close()
        loader.close()

    asyncio.run(ask())


def test_an_unsigned_copy_is_not_taken_by_who_trusts_a_key(store, tmp_path):
    _, public = write_keys(tmp_path, "ours")

    async def load(**settings):
        loader = Loader(Settings(store=store, name="toy", copies=tmp_path / "copies", **settings))
        return loader, await loader.load("1", apart=False)

    async def both():
        first, version = await load()
        with pytest.raises(SignatureError, match="is not signed"):
            await load(trust=(public,))
        await version.close()
        first.close()

    asyncio.run(both())


def test_a_manifest_says_each_thing_once(store):
    path = store / "toy" / "1" / "manifest.json"
    text = path.read_text()
    assert json.loads(text)["version"] == "1"
    path.write_text(text.replace('"version":', '"version": "9", "version":', 1))
    with pytest.raises(BundleError, match="key 'version' stands twice in one object"):
        asyncio.run(Loader(Settings(store=store, name="toy")).load("1", apart=False))
