import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import BundleError, InvalidQuery
from export.archive import pack
from handlers.engine.query import Query, Ranking
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import Reloader
from handlers.facade.versions.roster import Roster
from tests.running.program import run_serve
from tests.toy.bundle import publish

USERS = range(0, 400, 10)


def expected(worlds, user):
    """The ten best for a user, by version."""
    query = Query(user_id=user, top_k=10)
    return {version: worlds[version].rank(query).anime_ids.tolist() for version in worlds}


@pytest.fixture(scope="module")
def answers(world, next_world):
    """By user and version; no user's are the same."""
    found = {user: expected({"1": world, "2": next_world}, user) for user in USERS}
    assert all(of["1"] != of["2"] for of in found.values())
    return found


class Callers:
    """Ask without a pause, from several threads, until version `last` has answered each a while."""

    def __init__(self, address, answers, last):
        self.address, self.answers, self.last = address, answers, last
        self.asked = threading.Event()
        self.replies = 0
        self.switched = threading.Event()

    def ask(self, first):
        more, users = 50, list(self.answers)[first:] + list(self.answers)[:first]
        with Client(self.address, timeout_s=60) as client:
            while more:
                for user in users:
                    reply = client.recommend(user_id=user)
                    ranked = [entry.anime_id for entry in reply.ranking]
                    assert ranked == self.answers[user][reply.model_version]
                    self.replies += 1
                    self.asked.set()
                    if reply.model_version == self.last:
                        self.switched.set()
                        more -= 1
                        break

    def __enter__(self):
        self.threads = ThreadPoolExecutor(4)
        self.futures = [self.threads.submit(self.ask, first) for first in range(4)]
        assert self.asked.wait(60)
        return self

    def __exit__(self, *_):
        self.threads.shutdown()
        for future in self.futures:
            future.result()


@pytest.mark.slow
def test_a_new_version_is_switched_to_without_a_failed_request(store, next_dir, answers):
    with run_serve(store, "--watch") as (_, address, said):
        assert "toy 1 on" in said
        with Callers(address, answers, "2"):
            publish(next_dir, store, "2")
        with Client(address) as client:
            assert client.model_info().version == "2"


@pytest.mark.slow
def test_on_sighup_the_store_is_looked_at_once(store, next_dir, answers):
    with run_serve(store) as (process, address, _):
        publish(next_dir, store, "2")
        with Callers(address, answers, "2") as callers:
            assert not callers.switched.wait(0.5)
            process.send_signal(signal.SIGHUP)


@pytest.mark.slow
def test_two_versions_side_by_side_each_answer_as_their_own_engine(store, next_dir, answers):
    publish(next_dir, store, "2")
    with run_serve(store, "--version", "1=3", "--version", "newest=1") as (_, address, said):
        assert "toy 1 (75.0%), 2 (25.0%) on" in said
        chosen: dict[int, str] = {}
        with Client(address) as client:
            for user in [*USERS] * 2:
                reply = client.recommend(user_id=user)
                ranked = [entry.anime_id for entry in reply.ranking]
                assert ranked == answers[user][reply.model_version]
                assert chosen.setdefault(user, reply.model_version) == reply.model_version
            for version in ("1", "2"):
                for user in USERS:
                    request = pb.RecommendRequest(user_id=user, model_version=version)
                    reply = client.answer(request)
                    assert reply.model_version == version
                    assert [e.anime_id for e in reply.ranking] == answers[user][version]
            with pytest.raises(InvalidQuery, match="model_version: '3' is not served") as caught:
                client.answer(pb.RankRequest(candidate_ids=[3], model_version="3"))
            assert caught.value.field == "model_version"
            assert [each.weight for each in client.model_info().versions] == [3, 1]
        assert set(chosen.values()) == {"1", "2"}


def look_at(store, *steps, versions=None, settings=None):
    """Serve what is in the store, then take each step and look; the versions after each look."""
    settings = settings or Settings(store=store, name="toy", versions=versions or {"newest": 1})

    async def watch():
        loader = Loader(settings)
        weights = loader.weights(loader.available())
        loaded = [await loader.load(version) for version in weights]
        roster, reloader = Roster(*loaded, weights=list(weights.values())), Reloader(loader, None)
        after = []
        for step in steps:
            step()
            await reloader.check(roster, patient=False)
            after.append([version.name for version in roster.versions])
        await reloader.close()
        await roster.close()
        return after

    return asyncio.run(watch())


def nothing():
    pass


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_corrupt_version_is_refused_once_and_served_when_it_is_whole(store, next_dir, caplog):
    file = store / "toy" / "3" / "catalogue" / "adult.npy"

    def corrupt():
        publish(next_dir, store, "3")
        damage(file)

    assert look_at(store, corrupt, nothing, nothing) == [["1"]] * 3
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith(f"version 3 is refused, 1 serves on: {file}: SHA-256 is ")
    shutil.rmtree(store / "toy" / "3")
    assert look_at(store, corrupt, lambda: damage(file)) == [["1"], ["3"]]


def test_of_several_new_versions_the_newest_that_is_whole_is_served(store, next_dir):
    def come():
        for version in ("2", "9", "10", "11"):
            publish(next_dir, store, version)
        damage(store / "toy" / "11" / "ranker.onnx")

    assert look_at(store, come) == [["10"]]


def test_a_version_taken_from_the_store_is_no_longer_the_newest(store, next_dir):
    publish(next_dir, store, "2")
    after = look_at(store, nothing, lambda: shutil.rmtree(store / "toy" / "2"))
    assert after == [["2"], ["1"]]


def test_what_serves_serves_on_when_the_whole_store_is_gone(store, caplog):
    assert look_at(store, lambda: shutil.rmtree(store), nothing) == [["1"], ["1"]]
    [line] = [record.getMessage() for record in caplog.records]
    assert line == f"1 serves on: {store}: holds no model named 'toy'"


def test_a_pinned_version_stays_and_the_newest_takes_its_share_beside_it(store, next_dir):
    steps = [lambda version=version: publish(next_dir, store, version) for version in ("2", "3")]
    assert look_at(store, *steps, versions={"1": 0.9, "newest": 0.1}) == [["1", "2"], ["1", "3"]]
    assert look_at(store, lambda: publish(next_dir, store, "4"), versions={"1": 1}) == [["1"]]


def test_a_version_that_is_still_being_written_is_left_for_the_next_look(store, next_dir):
    async def watch():
        loader = Loader(Settings(store=store, name="toy"))
        roster, reloader = Roster(await loader.load("1")), Reloader(loader, None)
        folder = publish(next_dir, store, "2")
        assert not await reloader.check(roster, patient=True)
        (folder / "notes.txt").write_text("written a moment later")
        assert not await reloader.check(roster, patient=True)
        assert await reloader.check(roster, patient=True)
        assert [version.name for version in roster.versions] == ["2"]
        await reloader.close()
        await roster.close()

    asyncio.run(watch())


def test_requests_in_flight_end_with_the_version_they_began_with(store, next_dir, world):
    async def watch():
        loader = Loader(Settings(store=store, name="toy"))
        roster, reloader = Roster(await loader.load("1")), Reloader(loader, None)
        old = roster.choose("")
        asking = [
            asyncio.create_task(old.batcher.rank(Query(user_id=user, top_k=10)))
            for user in [*USERS] * 5
        ]
        publish(next_dir, store, "2")
        await reloader.check(roster, patient=False)
        assert roster.choose("").name == "2"
        await reloader.close()  # the old one has ended
        assert all(task.done() for task in asking)
        for user, task in zip([*USERS] * 5, asking, strict=True):
            query = Query(user_id=user, top_k=10)
            answer = task.result().result
            assert isinstance(answer, Ranking)
            ranked = answer.anime_ids.tolist()
            assert ranked == world.rank(query).anime_ids.tolist()
        await roster.close()

    asyncio.run(watch())


def test_processes_of_one_machine_load_one_after_another(store, next_dir):
    async def watch():
        loader = Loader(Settings(store=store, name="toy"))
        roster, reloader = Roster(await loader.load("1")), Reloader(loader, None)
        publish(next_dir, store, "2")
        other = os.open(store / "toy", os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)  # as another worker does while it loads
        checking = asyncio.create_task(reloader.check(roster, patient=False))
        assert not (await asyncio.wait({checking}, timeout=0.5))[0]
        assert roster.choose("").name == "1"
        os.close(other)
        assert await checking
        assert roster.choose("").name == "2"
        await reloader.close()
        await roster.close()

    asyncio.run(watch())


def rewrite(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def relist(folder, name):
    """List a file as it is now."""
    content = (folder / name).read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(folder, lambda manifest: manifest["files"].update({name: entry}))


def other_format(folder):
    rewrite(folder, lambda manifest: manifest.update(format=2))


def other_signature(folder):
    rewrite(folder, lambda manifest: manifest["graph"]["inputs"][4].update(name="items"))


def other_version(folder):
    rewrite(folder, lambda manifest: manifest.update(version="7"))


def other_graph(folder):
    """The graph of another model: it takes no `history_ids`."""
    model = onnx.load(folder / "ranker.onnx")
    for node in model.graph.node:
        node.input[:] = ["watched" if name == "history_ids" else name for name in node.input]
    for given in model.graph.input:
        given.name = "watched" if given.name == "history_ids" else given.name
    onnx.save(model, folder / "ranker.onnx")
    relist(folder, "ranker.onnx")


def other_profile(folder):
    """A profile of one more field than the graph takes."""
    more = {"name": "age", "kind": "number"}
    rewrite(folder, lambda manifest: manifest["profile"].append(more))


def other_catalogue(folder):
    path = folder / "catalogue" / "title.npy"
    np.save(path, np.load(path)[:-1])
    relist(folder, "catalogue/title.npy")


def unknown_anime(folder):
    path = folder / "catalogue" / "anime_id.npy"
    ids = np.load(path)
    ids[-1] += 1
    np.save(path, ids)
    relist(folder, "catalogue/anime_id.npy")


def no_graph(folder):
    (folder / "ranker.onnx").write_bytes(b"not a graph")
    relist(folder, "ranker.onnx")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_format, r"manifest\.json: format is 2, this version reads 1"),
        (other_signature, r"manifest\.json: graph inputs are .*items; should be .*candidate_ids"),
        (other_version, r"manifest\.json: version is '7', the folder's name says '2'"),
        (other_graph, r"ranker\.onnx: .*inputs are .*watched.*should be .*history_ids"),
        (other_profile, r"2: cannot score the catalogue \(.*profile"),
        (other_catalogue, r"title\.npy: 59 entries, anime_id\.npy has 60"),
        (unknown_anime, r"the graph does not know anime 181"),
        (no_graph, r"ranker\.onnx: not an ONNX model"),
    ],
)
def test_an_incompatible_version_is_refused_by_name(store, next_dir, caplog, change, said):
    folder = publish(next_dir, store, "2")
    change(folder)
    with pytest.raises(BundleError, match=said):
        asyncio.run(Loader(Settings(store=store, name="toy")).load("2"))
    (folder / "manifest.json").rename(folder / "kept")
    put = lambda: (folder / "kept").rename(folder / "manifest.json")  # noqa: E731 - named, and too short for more
    assert look_at(store, put) == [["1"]]
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("version 2 is refused, 1 serves on: ")
    assert re.search(said, line)


@pytest.mark.slow
def test_a_new_archive_is_served_by_a_torchserve_beside_the_old(store, next_dir, answers):
    pack(store / "toy" / "1", store, "toy", "1")
    with run_serve(store, "--backend", "torchserve") as (process, address, _):
        with Callers(address, answers, "2"):
            pack(next_dir, store, "toy", "2")
            publish(next_dir, store, "2")
            process.send_signal(signal.SIGHUP)
        children = psutil.Process(process.pid).children(recursive=True)
        with Client(address) as client:
            assert client.model_info().backend == "torchserve"
        commands = [command for child in children if "--ts-config" in (command := child.cmdline())]
        configurations = [command[command.index("--ts-config") + 1] for command in commands]
        assert configurations
        for configuration in configurations:  # TorchServe gathers no batches of batches
            assert '"batchSize": 1' in Path(configuration).read_text()
        process.terminate()
        assert process.wait(60) == 0
    assert not any(child.is_running() for child in children)


def test_a_torchserve_that_is_another_s_is_switched_to_once_it_serves_the_version(
    torchserve, bundle_dir, tmp_path, caplog
):
    (tmp_path / "anime").mkdir()

    def come(version):
        return lambda: publish(bundle_dir, tmp_path, version, "anime")

    come("0")()
    settings = Settings(
        store=tmp_path,
        backend="torchserve",
        torchserve=torchserve.grpc_address,
        keys=torchserve.key_file,
    )
    after = look_at(tmp_path, come("1"), come("2"), nothing, settings=settings)
    assert after == [["1"], ["1"], ["1"]]
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith("version 2 is refused, 1 serves on: TorchServe at ")
