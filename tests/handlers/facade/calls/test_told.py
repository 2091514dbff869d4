"""What callers are told of a failure, and what is for the log alone."""

import asyncio
import json

import grpc
import pytest

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable
from handlers.facade.backends.torchserve import TorchServeBackend

REQUEST = pb.RecommendRequest(top_k=1)
OF_A_STREAM = pb.RankStreamRequest(id=1, recommend=REQUEST)


def torchserve_with_keys_in(folder):
    return lambda: TorchServeBackend(
        "127.0.0.1:1", name="toy", version="1", key_file=folder / "keys.json"
    )


@pytest.mark.parametrize("keys", [True, False], ids=["gone", "no keys"])
def test_where_the_backend_and_its_keys_are_is_for_the_log(serve, tmp_path, caplog, keys):
    if keys:
        expires = {"key": "k", "expiration time": "2099-01-01T00:00:00Z"}
        (tmp_path / "keys.json").write_text(json.dumps({"inference": expires}))
    address = serve(backend=torchserve_with_keys_in(tmp_path))

    async def check():
        async with grpc.aio.insecure_channel(address) as channel:
            stub = RankingServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                await stub.Recommend(REQUEST, timeout=30)
            [answer] = [each async for each in stub.RankStream(iter([OF_A_STREAM]), timeout=30)]
        return caught.value, answer.status

    failed, of_a_stream = asyncio.run(check())
    told = "what computes the scores does not answer; ask again"
    assert failed.code() is grpc.StatusCode.UNAVAILABLE
    assert failed.details() == of_a_stream.message == told
    assert str(tmp_path) not in repr(failed)
    assert any("127.0.0.1:1" in message for message in caplog.messages)
    assert keys or any(str(tmp_path) in message for message in caplog.messages)


class Broken:
    """A backend that fails in a way that nobody foresaw."""

    name, in_flight, largest_batch = "broken", 1, 100

    async def rank(self, queries, timeout_s=None):
        raise OSError(5, "Input/output error", "/etc/anirank/secret.pem")

    def is_quick(self, query):
        return False

    def rank_now(self, query):
        raise BackendUnavailable("answers no query at once")

    async def ready(self):
        return True

    async def close(self):
        pass


def test_what_nobody_foresaw_is_for_the_log(serve, caplog):
    address = serve(backend=Broken)

    async def check():
        async with grpc.aio.insecure_channel(address) as channel:
            stub = RankingServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                await stub.Recommend(REQUEST, timeout=30)
            stream = stub.RankStream(iter([OF_A_STREAM]), timeout=30)
            assert await stream.code() is grpc.StatusCode.UNKNOWN
            assert await stream.details() == caught.value.details()
        return caught.value

    failed = asyncio.run(check())
    assert failed.code() is grpc.StatusCode.UNKNOWN
    assert failed.details() == "the server failed; its log says why"
    assert "secret.pem" in caplog.text
