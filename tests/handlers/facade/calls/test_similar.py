"""Calls of Similar keep to what all calls keep to."""

import asyncio
import threading
from typing import Any

import grpc
import pytest

from anirank.client.aio import AsyncClient
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import (
    BackendUnavailable,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
    Unauthenticated,
)
from handlers.engine.engine import SimilarEngine
from handlers.engine.query import Limits
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.observer import Observer
from handlers.local import LocalRanker
from handlers.security.access import Security
from handlers.security.tokens import Tokens

REQUEST = pb.SimilarRequest(anime_ids=[3, 4, 6], top_k=5)


class Held:
    """Holds what looks for what is alike until it is free; `arrived` says that something does."""

    def __init__(self):
        self.arrived, self.free = threading.Event(), threading.Event()


@pytest.fixture
def held(monkeypatch):
    held, answer = Held(), SimilarEngine.answer

    def hold(self, query):
        held.arrived.set()
        assert held.free.wait(60)
        return answer(self, query)

    monkeypatch.setattr(SimilarEngine, "answer", hold)
    yield held
    held.free.set()


def without_times(reply):
    reply.ClearField("queue_time")
    reply.ClearField("compute_time")
    return reply


def test_an_answer_is_that_of_the_bundle_and_says_how_long_it_took(serve, toy_dir):
    with Client(serve()) as client:
        reply = client.similar([3, 4, 6], top_k=5)
    assert reply.compute_time.ToNanoseconds() > 0
    assert len(reply.ranking) == 5
    assert list(reply.unknown_anime) == [4]
    assert reply.model_version == "1"
    assert without_times(reply) == without_times(LocalRanker(toy_dir).answer(REQUEST))


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.SimilarRequest(), ["anime_ids"]),
        (pb.SimilarRequest(anime_ids=range(11)), ["anime_ids"]),
        (pb.SimilarRequest(anime_ids=range(10**15, 10**15 + 5_000)), ["anime_ids"]),
        (pb.SimilarRequest.FromString(b"\x0a\x01\x03\x20\x07"), ["likeness"]),
        (pb.SimilarRequest(anime_ids=[3], likeness=pb.LIKENESS_VECTORS), ["likeness"]),
        (pb.SimilarRequest(anime_ids=[3], model_version="2"), ["model_version"]),
        (pb.SimilarRequest(anime_ids=[3], model_version="v" * 20_000), ["request"]),
        (
            pb.SimilarRequest(filter=pb.Filter(genres=pb.ValueFilter(any=["Actoin"] * 101))),
            ["anime_ids", "filter.genres.any"],
        ),
        (
            pb.SimilarRequest(
                anime_ids=[3], filter=pb.Filter(genres=pb.ValueFilter(any=["Actoin"]))
            ),
            ["filter.genres.any[0]"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(serve, request_, fields):
    with Client(serve(limits=Limits(history=10))) as client:
        with pytest.raises(InvalidQuery) as caught:
            client.answer(request_)
        assert client.similar([3]).ranking
    assert [fault.field for fault in caught.value.faults] == fields


def test_bytes_that_are_no_message_are_told_so(serve):
    with grpc.insecure_channel(serve()) as channel:
        method: Any = channel.unary_unary("/anime.ranking.v1.RankingService/Similar")
        with pytest.raises(grpc.RpcError) as caught:
            method(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "anime.ranking.v1.SimilarRequest" in str(caught.value.details())


def test_a_full_queue_refuses_at_once_and_lets_rankings_pass(gated, held):
    async def check(here):
        here.gate.open.set()
        calls = [here.stub.Similar(REQUEST, timeout=60) for _ in range(40)]
        while sum(call.done() for call in calls) < 40 - 4 - 8:
            await asyncio.sleep(0.01)
        with Client(here.address, retries=0) as client, pytest.raises(Overloaded) as caught:
            await asyncio.to_thread(client.similar, [3])
        assert caught.value.retry_after_s > 0
        assert (await here.stub.Recommend(pb.RecommendRequest(top_k=1))).ranking
        held.free.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in outcomes if isinstance(each, grpc.RpcError)]
        assert {each.code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        answered = [each for each in outcomes if isinstance(each, pb.SimilarReply)]
        assert all(each.ranking for each in answered)
        assert len(answered) + len(refused) == len(outcomes)
        assert 8 <= len(answered) <= 8 + 4  # in the queue and in the first batch

    gated(check, Limits(queued=8))


def test_who_is_late_in_the_queue_is_told_so(serve, held):
    address = serve()
    with Client(address) as client, Client(address, timeout_s=0.5) as hurried:
        patient = threading.Thread(target=client.similar, args=([3],))
        patient.start()
        assert held.arrived.wait(30)
        with pytest.raises(DeadlinePassed):
            hurried.similar([3])
        held.free.set()
        patient.join()
        assert hurried.similar([3]).ranking


def test_a_version_that_is_let_go_answers_first(gated, held):
    async def check(here):
        call = here.stub.Similar(REQUEST, timeout=60)
        while not held.arrived.is_set():
            await asyncio.sleep(0.01)
        closing = asyncio.ensure_future(here.version.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        held.free.set()
        assert (await call).ranking
        await closing

    gated(check, Limits())


def test_it_needs_nothing_of_the_backend_that_ranks(serve, tmp_path):
    gone = lambda: TorchServeBackend(  # noqa: E731 - made anew in each façade
        "127.0.0.1:1", name="toy", version="1", key_file=tmp_path / "keys.json"
    )
    with Client(serve(backend=gone)) as client:
        with pytest.raises(BackendUnavailable):
            client.recommend(top_k=1)
        assert client.similar([3]).ranking


def test_what_fails_is_for_the_log(serve, monkeypatch, caplog):
    def fail(self, query):
        raise OSError(5, "Input/output error", "/etc/anirank/secret.pem")

    monkeypatch.setattr(SimilarEngine, "answer", fail)
    with Client(serve()) as client, pytest.raises(BackendUnavailable) as caught:
        client.similar([3])
    assert "secret.pem" not in str(caught.value)
    assert "secret.pem" in caplog.text


def test_who_shows_no_token_is_not_answered(serve, tmp_path):
    file = tmp_path / "tokens"
    file.write_text("t" * 32)
    file.chmod(0o600)
    address = serve(security=Security(tokens=Tokens(file)))
    with Client(address) as client, pytest.raises(Unauthenticated):
        client.similar([3])
    with Client(address, token="t" * 32) as client:
        assert client.similar([3]).ranking


def test_requests_are_counted_and_timed_as_all_others(serve, caplog):
    metrics = Metrics()
    caplog.set_level("DEBUG", "handlers.requests")
    with Client(serve(observer=Observer(metrics))) as client:
        client.similar([3])
        with pytest.raises(InvalidQuery):
            client.similar([])

    def value(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    assert value("anirank_calls_total", method="Similar") == 2
    assert value("anirank_requests_total", method="Similar", code="OK") == 1
    assert value("anirank_requests_total", method="Similar", code="INVALID_ARGUMENT") == 1
    assert value("anirank_request_seconds_count", method="Similar") == 2
    assert value("anirank_compute_seconds_count", version="1") == 1
    assert value("anirank_queue_seconds_count", version="1") == 1
    assert "Similar OK" in caplog.messages


def test_the_asyncio_client_asks_likewise(serve):
    address = serve()

    async def check():
        async with AsyncClient(address) as client:
            return await client.similar([3, 6], top_k=3, filter={"genres": {"none": ["Action"]}})

    reply = asyncio.run(check())
    with Client(address) as client:
        same = client.similar([3, 6], top_k=3, filter={"genres": {"none": ["Action"]}})
    assert len(reply.ranking) == 3
    assert not any("Action" in anime.genres for anime in reply.ranking)
    assert without_times(reply) == without_times(same)


def test_what_a_model_offers_is_in_its_info(serve):
    with Client(serve()) as client:
        assert list(client.model_info().likenesses) == [pb.LIKENESS_CROSSES]
