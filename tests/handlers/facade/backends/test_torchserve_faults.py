"""What becomes of requests while a real TorchServe hangs, dies or changes its keys."""

import asyncio
import functools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable
from export.archive import MODEL_CONFIG
from handlers.engine.query import Limits, Query
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.backends.fallback import FallbackBackend
from handlers.facade.backends.torchserve import OwnTorchServe, TorchServeBackend
from handlers.facade.server import serve
from handlers.facade.shutdown import Shutdown
from handlers.facade.versions.roster import Roster, ServedVersion
from handlers.torchserve import keys, server, supervision
from handlers.torchserve.server import TorchServe
from tests.running.waiting import PATIENCE_S, until


def backend_for(server, **options):
    named = {"name": server.name, "version": "1", "key_file": server.key_file}
    return TorchServeBackend(server.grpc_address, **named, **options)


def assert_same(answers, expected):
    for found, wanted in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(found.anime_ids, wanted.anime_ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.fixture(scope="module")
def archive(mar_file, tmp_path_factory):
    """A .mar that may be taken away."""
    return Path(shutil.copy(mar_file, tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def victim(archive, bare_python):
    with TorchServe(archive, python=bare_python, batching=False) as server:
        yield server


def rest(server):
    """What the REST API of a server answers to a request for nothing."""
    url, key = f"{server.rest_address}/predictions/{server.name}", server.inference_key()
    return json.loads(keys.ask(url, key, b"[]"))


def test_one_runs_beside_another_with_ports_and_keys_of_its_own(victim, torchserve):
    assert rest(victim) == rest(torchserve) == []
    assert victim.inference_key() != torchserve.inference_key()
    with pytest.raises(BackendUnavailable):
        keys.ask(f"{victim.rest_address}/predictions/anime", torchserve.inference_key(), b"[]")


def process_of(server, word):
    """The pid of the server's process whose command holds the word."""
    for child in psutil.Process(server.pid).children(recursive=True):
        if any(word in part for part in child.cmdline()):
            return child.pid
    raise AssertionError(f"no {word}")


JAVA, WORKER = "model_server_home", "model_service_worker.py"


def halt(pid):
    """Stop a process; until one of its threads has had its turn to hear it, the others go on."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)


def described(server):
    url = f"{server.management_address}/models/{server.name}"
    [model] = json.loads(keys.ask(url, server.keys.key("management")))
    names = ("batchSize", "minWorkers", "maxWorkers", "responseTimeout")
    return {name: model[name] for name in names}


def test_batches_wait_for_no_other_where_each_request_is_one(victim, torchserve):
    assert described(torchserve)["batchSize"] == MODEL_CONFIG["batchSize"]
    assert described(victim) == described(torchserve) | {"batchSize": 1}


@pytest.mark.parametrize("word", [WORKER, JAVA])
def test_while_it_hangs_the_fallback_answers_and_then_it_does_again(
    victim, onnx_engine, bundle, word
):
    queries = [Query(user_id=int(user), top_k=5) for user in bundle.histories.user_id[:5]]
    expected = onnx_engine.rank(queries)

    async def check():
        alone, first = (backend_for(victim, call_s=2.0, probe_s=2.0) for _ in range(2))
        other = EmbeddedBackend(onnx_engine)
        both = FallbackBackend(first, other)
        await until(alone.ready)
        assert_same(await alone.rank(queries), expected)
        pid = process_of(victim, word)
        halt(pid)
        try:
            assert_same(await both.rank(queries, 1.0), expected)
            with pytest.raises(BackendUnavailable, match="DEADLINE_EXCEEDED"):
                await alone.rank(queries)
            assert not await alone.ready()
            assert await both.ready()
            assert_same(await both.rank(queries), expected)
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(alone.ready)
        await until(first.ready)
        assert_same(await alone.rank(queries), expected)
        await alone.close()
        await both.close()

    asyncio.run(check())


def test_health_says_not_serving_while_it_hangs_and_serving_once_it_answers(victim, bundle):
    async def check():
        backend = backend_for(victim, call_s=1.0, probe_s=1.0)
        await until(backend.ready)
        roster, shutdown = Roster(ServedVersion(bundle, backend, Limits())), Shutdown()
        port = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve(roster, "127.0.0.1:0", started=port.set_result, shutdown=shutdown)
        )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{await port}") as channel:

            async def says(wanted):
                request = health_pb2.HealthCheckRequest()
                async with asyncio.timeout(PATIENCE_S):
                    async for reply in HealthStub(channel).Watch(request):
                        if reply.status == wanted:
                            return

            stub = RankingServiceStub(channel)
            assert (await stub.Recommend(pb.RecommendRequest())).ranking
            await says(health_pb2.HealthCheckResponse.SERVING)
            pid = process_of(victim, JAVA)
            halt(pid)
            try:
                calls = [stub.Recommend(pb.RecommendRequest()) for _ in range(20)]
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                errors = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
                assert len(errors) == len(outcomes)
                assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
                await says(health_pb2.HealthCheckResponse.NOT_SERVING)
            finally:
                os.kill(pid, signal.SIGCONT)
            await says(health_pb2.HealthCheckResponse.SERVING)
            assert (await stub.Recommend(pb.RecommendRequest())).ranking
        shutdown.request()
        await serving

    asyncio.run(check())


def test_a_worker_that_is_killed_fails_its_batch_in_time_and_the_next_one_is_found(
    victim, onnx_engine
):
    async def check():
        backend = backend_for(victim)
        await until(backend.ready)
        worker = process_of(victim, WORKER)
        halt(worker)  # so that the batch is at the worker when it dies
        batch = asyncio.create_task(backend.rank([Query()]))
        await asyncio.sleep(0.2)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(BackendUnavailable, match="Worker died"):
            await batch
        assert not await backend.ready()
        with pytest.raises(BackendUnavailable):
            await backend.rank([Query()])
        await until(backend.ready)
        assert_same(await backend.rank([Query()]), onnx_engine.rank([Query()]))
        await backend.close()

    asyncio.run(check())


def test_keys_are_renewed_and_the_old_one_is_good_no_more(victim, monkeypatch, caplog):
    async def check():
        held = victim.keys
        old = {kind: held.key(kind) for kind in ("inference", "management", "API")}
        assert 50 * 60 < held.seconds_left("inference") <= 60 * 60
        supervision.renew(victim)
        assert held.key("inference") == old["inference"]
        reading = backend_for(victim)
        asking = backend_for(victim, management=victim.management_address)
        await until(reading.ready)
        await until(asking.ready)

        monkeypatch.setattr(supervision, "RENEW_S", 61 * 60.0)
        caplog.set_level("INFO")
        supervision.renew(victim)
        for kind in ("inference", "management"):
            assert held.key(kind) != old[kind]
        assert held.key("API") == old["API"]
        assert len(await reading.rank([Query()])) == 1

        renewed = victim.key_file.read_text()
        ended = json.loads(renewed)
        ended["inference"]["key"] = old["inference"]
        victim.key_file.write_text(json.dumps(ended))
        with pytest.raises(BackendUnavailable, match="its inference key is refused"):
            await reading.rank([Query()])
        assert len(await asking.rank([Query()])) == 1  # it has had another one written
        await until(reading.ready)
        await reading.close()
        await asking.close()
        said = [*old.values(), *(held.key(kind) for kind in ("inference", "management", "API"))]
        assert "new inference key" in caplog.text
        assert not any(key in caplog.text for key in said)

    asyncio.run(check())


async def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


# Last, as it ends what the others use.
def test_one_of_ones_own_that_hangs_or_is_killed_is_started_again_and_found(
    victim, torchserve, archive, onnx_engine, monkeypatch, caplog
):
    monkeypatch.setattr(supervision, "HUNG_S", 1.0)
    monkeypatch.setattr(supervision, "ASK_S", 0.0)
    monkeypatch.setattr(keys, "ANSWER_S", 1.0)
    monkeypatch.setattr(server, "STOP_S", 0.5)  # what is stopped hears no SIGTERM

    async def check():
        backend = OwnTorchServe(victim, "1", call_s=1.0)
        await until(backend.ready)
        pid, key = victim.pid, victim.inference_key()
        halt(process_of(victim, JAVA))
        with pytest.raises(BackendUnavailable, match="DEADLINE_EXCEEDED"):
            await backend.rank([Query()])
        await until(backend.ready)
        assert victim.pid != pid
        assert victim.inference_key() != key

        away = archive.rename(archive.with_suffix(".away"))
        os.kill(process_of(victim, JAVA), signal.SIGKILL)
        with pytest.raises(BackendUnavailable, match="UNAVAILABLE"):
            await backend.rank([Query()])
        while "cannot be read (No such file or directory); tried again in" not in caplog.text:
            await asyncio.sleep(0.1)
        away.rename(archive)
        await until(backend.ready)
        assert_same(await backend.rank([Query()]), onnx_engine.rank([Query()]))

        pid, folder = victim.pid, victim.key_file.parent
        os.kill(process_of(victim, JAVA), signal.SIGKILL)
        while victim.pid == pid:
            await asyncio.sleep(0.05)
        await backend.close()  # while it starts again
        assert not folder.exists()
        for group in (pid, victim.pid):  # half a second may be too little to end in
            await until(functools.partial(is_gone, group))
        victim.restart()  # of no effect once it was stopped
        victim.stop()  # and neither has another stop
        assert not victim.runs()

    asyncio.run(check())
    assert rest(torchserve) == []  # the one beside it was not touched
    assert "TorchServe hangs" in caplog.text
    assert "TorchServe has ended" in caplog.text
    assert "answers again" in caplog.text
