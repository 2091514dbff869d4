"""What becomes of calls to a TorchServe that is absent, late, silent or refuses a key.

A server of this test takes its place, and answers each call as the test says.
"""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import grpc
import pytest

from anirank.errors import BackendUnavailable, DeadlinePassed
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from handlers.forms import binary
from handlers.torchserve.inference import inference_pb2, inference_pb2_grpc
from tests.running.waiting import until


class Peer(inference_pb2_grpc.InferenceAPIsServiceServicer):
    """Takes TorchServe's place: notes the calls, and answers each by `answer`."""

    def __init__(self, answer):
        self.answer, self.left_s, self.keys = answer, [], []

    async def Predictions(self, request, context):  # noqa: N802 - the proto's name
        self.left_s.append(context.time_remaining())
        self.keys.append(dict(context.invocation_metadata())["authorization"])
        prediction = await self.answer(len(self.left_s), context)
        return inference_pb2.PredictionResponse(prediction=prediction)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key_file.json"
    path.write_text(json.dumps({"inference": {"key": "secret-first"}, "API": {"key": "secret"}}))
    return path


@asynccontextmanager
async def called(answer, key_file, **options):
    """A backend of a peer that answers by `answer`, and the peer."""
    peer, server = Peer(answer), grpc.aio.server()
    inference_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(peer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    backend = TorchServeBackend(address, name="anime", version="1", key_file=key_file, **options)
    try:
        yield backend, peer
    finally:
        await backend.close()
        await server.stop(None)


def test_the_time_that_is_left_goes_on_to_torchserve_and_never_more_than_its_limit(key_file):
    async def none(_count, _context):
        return binary.write_rankings([])

    async def check():
        async with called(none, key_file, call_s=20.0) as (backend, peer):
            for timeout_s in (5.0, 60.0, None):
                await backend.rank([], timeout_s)
        assert 4 < peer.left_s[0] <= 5.1
        assert all(19 < left_s <= 20.1 for left_s in peer.left_s[1:])

    asyncio.run(check())


def test_what_had_no_answer_is_tried_again_once(key_file):
    async def gone_at_first(count, context):
        if count in (1, 3, 4):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return binary.write_rankings([])

    async def check():
        async with called(gone_at_first, key_file) as (backend, peer):
            assert await backend.rank([]) == []
            assert len(peer.left_s) == 2
            with pytest.raises(BackendUnavailable, match="UNAVAILABLE gone"):
                await backend.rank([])
            # The others are of those who look whether it is back.
            await until(backend.ready)
            assert len(peer.left_s) == 5

    asyncio.run(check())


def test_what_ran_out_of_time_is_not_tried_again(key_file):
    async def never(_count, _context):
        await asyncio.Event().wait()

    async def check():
        async with called(never, key_file, probe_s=60.0) as (backend, peer):
            with pytest.raises(DeadlinePassed, match="DEADLINE_EXCEEDED"):
                await backend.rank([], 0.2)
            await asyncio.sleep(0.1)
            # The second looks whether it is there at all.
            assert [left_s > 1 for left_s in peer.left_s] == [False, True]

    asyncio.run(check())


def test_who_waits_for_one_that_hangs_waits_no_longer_than_the_limit_and_the_next_not_at_all(
    key_file,
):
    async def until_told(count, _context):
        if count <= 2:
            await asyncio.Event().wait()
        return binary.write_rankings([])

    async def check():
        loop = asyncio.get_running_loop()
        async with called(until_told, key_file, call_s=0.5, probe_s=0.5) as (backend, _):
            with pytest.raises(BackendUnavailable, match="DEADLINE_EXCEEDED"):
                await backend.rank([])
            started = loop.time()
            for _ in range(100):
                with pytest.raises(BackendUnavailable, match="DEADLINE_EXCEEDED"):
                    await backend.rank([])
            assert not await backend.ready()
            assert loop.time() - started < 0.5
            await until(backend.ready)
            assert await backend.rank([]) == []

    asyncio.run(check())


def test_a_failure_of_one_batch_alone_leaves_the_others_be(key_file):
    async def bad_at_first(count, context):
        if count == 1:
            await context.abort(grpc.StatusCode.INTERNAL, "Prediction failed")
        return binary.write_rankings([])

    async def check():
        async with called(bad_at_first, key_file) as (backend, _):
            with pytest.raises(BackendUnavailable, match="Prediction failed"):
                await backend.rank([])
            assert await backend.rank([]) == []
            assert await backend.ready()

    asyncio.run(check())


def test_one_that_takes_connections_and_says_nothing_is_unavailable_in_time(key_file):
    async def check():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            backend = TorchServeBackend(
                address, name="a", version="1", key_file=key_file, call_s=0.3, probe_s=0.3
            )
            with pytest.raises(BackendUnavailable, match=address):
                await backend.rank([Query()])
            assert not await backend.ready()
            await backend.close()

    asyncio.run(check())


def test_one_that_starts_later_is_found_by_itself(key_file):
    async def none(_count, _context):
        return binary.write_rankings([])

    async def check():
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        backend = TorchServeBackend(address, name="anime", version="1", key_file=key_file)
        assert not await backend.ready()
        with pytest.raises(BackendUnavailable, match="UNAVAILABLE"):
            await backend.rank([Query()])
        server = grpc.aio.server()
        inference_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(Peer(none), server)
        server.add_insecure_port(address)
        await server.start()
        await until(backend.ready)
        assert await backend.rank([]) == []
        await backend.close()
        await server.stop(None)

    asyncio.run(check())


def test_a_key_that_was_written_anew_meanwhile_is_taken(key_file):
    async def knows_the_second(_count, context):
        if "second" not in dict(context.invocation_metadata())["authorization"]:
            key_file.write_text(json.dumps({"inference": {"key": "secret-second"}}))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Token expired")
        return binary.write_rankings([])

    async def check():
        async with called(knows_the_second, key_file) as (backend, peer):
            assert await backend.rank([]) == []
            assert peer.keys == ["Bearer secret-first", "Bearer secret-second"]

    asyncio.run(check())


def test_a_key_that_is_refused_without_another_is_one_clear_error_that_does_not_show_it(
    key_file, caplog
):
    async def knows_none(_count, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Token expired")

    async def check(match, **options):
        async with called(knows_none, key_file, **options) as (backend, _):
            assert not await backend.ready()
            with pytest.raises(BackendUnavailable, match=match) as caught:
                await backend.rank([])
            assert "secret" not in str(caught.value) + caplog.text

    asyncio.run(check(r"key_file\.json: its inference key is refused: it has ended"))
    asyncio.run(check("token.*refused", management="http://127.0.0.1:1"))
    assert caplog.text


def test_without_a_torchserve_at_all_the_fallback_serves(toy_dir, key_file):
    settings = Settings(
        store=toy_dir.parents[1],
        name="toy",
        backend="torchserve",
        torchserve="127.0.0.1:1",
        keys=key_file,
        fallback=True,
    )

    async def check():
        version = await Loader(settings).load("1")
        assert version.backend.name == "torchserve"
        assert await version.backend.ready()
        answer = (await version.batcher.rank(Query(top_k=3))).result
        assert isinstance(answer, Ranking)
        assert len(answer.anime_ids) == 3
        await version.close()

    asyncio.run(check())
