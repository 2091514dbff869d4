import asyncio
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import (
    AddressUnavailable,
    BackendUnavailable,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
)
from handlers.engine.query import Familiarity, Limits, Objective, Query
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.health import STORE
from handlers.facade.server import serve
from handlers.facade.telemetry.observer import SERVICE
from handlers.facade.versions.roster import Roster, ServedVersion
from tests.running.paced import running

MESSAGES: Any = health_pb2  # types-grpcio-health-checking does not know those of List
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def assert_same(reply, ranking):
    assert [entry.anime_id for entry in reply.ranking] == ranking.anime_ids.tolist()
    assert [entry.score for entry in reply.ranking] == ranking.scores.tolist()
    assert [entry.rating for entry in reply.ranking] == ranking.ratings.tolist()
    assert [entry.affinity for entry in reply.ranking] == ranking.affinities.tolist()
    assert [entry.wide for entry in reply.ranking] == ranking.wides.tolist()
    assert all(entry.HasField("rest") == (ranking.reasons is not None) for entry in reply.ranking)
    if ranking.reasons is not None:
        assert_same_reasons(reply, ranking.reasons)
    assert list(reply.unknown_candidates) == ranking.unknown_candidates.tolist()
    assert list(reply.unknown_history) == ranking.unknown_history.tolist()
    assert reply.history_size == ranking.history_size
    assert reply.familiarity == ranking.familiarity


def assert_same_reasons(reply, reasons):
    said = [reason for entry in reply.ranking for reason in entry.reasons]
    assert [len(entry.reasons) for entry in reply.ranking] == np.diff(reasons.offsets).tolist()
    assert [entry.rest for entry in reply.ranking] == reasons.rests.tolist()
    assert [reason.contribution for reason in said] == reasons.contributions.tolist()
    assert [reason.anime.anime_id for reason in said] == reasons.anime_ids.tolist()
    rated = [reason.anime.HasField("rating") for reason in said]
    assert rated == (~np.isnan(reasons.ratings)).tolist()
    assert [bool(reason.genre) for reason in said] == (reasons.genres >= 0).tolist()


def test_what_is_unknown_is_told(client):
    reply = client.rank([3, 4, 6, 5], history={1: 9, 3: 8, 2: None, 9: None})
    assert list(reply.unknown_candidates) == [4, 5]
    assert list(reply.unknown_history) == [1, 2]
    assert (reply.familiarity, reply.history_size) == (pb.FAMILIARITY_NEW_WITH_HISTORY, 2)
    reply = client.recommend(user_id=7, history={1: 9, 2: None})
    assert (reply.familiarity, reply.history_size) == (pb.FAMILIARITY_NEW, 0)
    assert list(reply.unknown_history) == [1, 2]


@pytest.mark.parametrize("user", [10, None])
def test_every_recommendation_says_what_it_comes_from(client, world, user):
    history = {3: 9.0, 6: None, 9: 1.0, 12: 10.0, 15: 8.0, 18: 10.0}
    reply = client.recommend(user_id=user, history=history, top_k=40, explain=True)
    query = Query(
        user_id=user,
        history_ids=np.array(list(history)),
        history_ratings=np.array([9, np.nan, 1, 10, 8, 10], np.float32),
        top_k=40,
        explain=True,
    )
    assert_same(reply, world.rank(query))
    for entry in reply.ranking:
        assert sum(reason.contribution for reason in entry.reasons) + entry.rest == entry.wide
        for reason in entry.reasons:
            if reason.WhichOneof("source") == "anime":
                assert reason.anime.title == f"Title {reason.anime.anime_id} ・ 題"
                assert reason.anime.rating == (history[reason.anime.anime_id] or 0)
            else:
                assert reason.genre in entry.genres


def test_a_known_users_reasons_come_from_the_stored_history(client, world):
    assert_same(
        client.rank(range(1, 60), user_id=20, explain=True),
        world.rank(Query(user_id=20, candidate_ids=np.arange(1, 60), explain=True)),
    )


def test_candidates_are_ranked_as_reckoned(client, world):
    history, profile = {3: 9.0, 6: None}, {"gender": "Male", "days_watched": 0.5}
    query = Query(
        user_id=10,
        candidate_ids=np.array([30, 9, 4, 9, 12]),
        history_ids=np.array(list(history)),
        history_ratings=np.array([9, np.nan], np.float32),
        profile=np.array([2, 0.5], np.float32),
        objective=Objective.AFFINITY,
    )
    reply = client.rank(
        [30, 9, 4, 9, 12],
        user_id=10,
        history=history,
        profile=profile,
        objective="AFFINITY",
    )
    assert_same(reply, world.rank(query))
    assert reply.unknown_candidates == [4]
    assert ("Title 9 ・ 題", "Action, Sci-Fi") in {
        (entry.title, entry.genres) for entry in reply.ranking
    }
    assert reply.model_version == "1"
    assert reply.compute_time.ToNanoseconds() > 0
    assert reply.queue_time.ToNanoseconds() >= 0


def test_the_catalogue_is_recommended_from_as_reckoned(client, world):
    assert_same(client.recommend(user_id=20), world.rank(Query(user_id=20, top_k=10)))
    query = Query(include_seen=True, include_adult=True, top_k=60, objective=Objective.RATING)
    reply = client.recommend(include_seen=True, include_adult=True, top_k=60, objective="RATING")
    assert_same(reply, world.rank(query))
    assert reply.familiarity == Familiarity.NEW


def test_the_model_says_what_it_is_and_what_it_takes(client):
    info = client.model_info()
    assert (info.name, info.version, info.preset, info.backend) == (
        "toy",
        "1",
        "toy",
        "onnxruntime",
    )
    assert info.limits == pb.Limits(
        candidates=100,
        history=20,
        message_bytes=127_844,
        queued=256,
        streamed=64,
        filter_values=100,
        filter_ids=5_000,
        diversified=100,
    )
    assert info.filters == [
        pb.FilterField(name="genres", values=["Action", "Sci-Fi"]),
        pb.FilterField(name="types", values=["TV"]),
    ]
    assert info.categories == [pb.ProfileField(name="gender", values=["Female", "Male", "unknown"])]
    assert info.numbers == [pb.ProfileField(name="days_watched")]
    assert info.metrics["test"]["rmse"] == 1.25
    assert info.catalogue_size == 60


def test_many_callers_each_get_their_own_answer(client, world):
    users = list(range(0, 400, 3))
    with ThreadPoolExecutor(32) as threads:
        replies = list(threads.map(lambda user: client.recommend(user_id=user), users))
    for user, reply in zip(users, replies, strict=True):
        assert_same(reply, world.rank(Query(user_id=user, top_k=10)))


def test_health_and_reflection_answer(channel):
    for service in ("", SERVICE):
        reply = HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == SERVING
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    [listed] = ServerReflectionStub(channel).ServerReflectionInfo(iter(asked))
    names = {service.name for service in listed.list_services_response.service}
    assert {"anime.ranking.v1.RankingService", "grpc.health.v1.Health"} <= names


@pytest.mark.slow
def test_a_request_past_its_deadline_says_so(toy_dir):
    with running(toy_dir, seconds=1.0) as (_, address):
        hasty = Client(address, timeout_s=0.2)
        with hasty, pytest.raises(DeadlinePassed):
            hasty.rank([3])


@pytest.mark.slow
def test_an_overloaded_server_says_when_to_come_back(toy_dir):
    with (
        running(toy_dir, seconds=0.3, queued=2) as (_, address),
        Client(address, retries=0) as client,
    ):
        with ThreadPoolExecutor(12) as threads:
            futures = [threads.submit(client.rank, [3]) for _ in range(12)]
        outcomes = [future.exception() for future in futures]
        errors = [error for error in outcomes if isinstance(error, Overloaded)]
        assert len(errors) == len(outcomes) - outcomes.count(None)
        assert 0 < len(errors) < 12
        assert all(error.retry_after_s > 0 for error in errors)


@pytest.mark.slow
def test_on_sigterm_what_is_in_flight_ends_and_the_exit_code_is_zero(toy_dir):
    with running(toy_dir, seconds=0.5) as (process, address):
        states, watched = [], threading.Event()

        def watch():
            with grpc.insecure_channel(address) as channel:
                try:
                    for reply in HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                        states.append(reply.status)
                        watched.set()
                except grpc.RpcError:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        watched.wait(10)
        with Client(address) as client, ThreadPoolExecutor(6) as threads:
            futures = [threads.submit(client.rank, [3]) for _ in range(6)]
            threading.Event().wait(0.3)  # the first batch is at the graph, the others in the queue
            process.send_signal(signal.SIGTERM)
            assert all(len(future.result().ranking) == 1 for future in futures)
        assert process.wait(5) == 0
        watcher.join(5)
        assert states == [SERVING, NOT_SERVING]
        with Client(address) as client, pytest.raises(BackendUnavailable):
            client.rank([3])


def serve_here(bundle, backend, check, address="127.0.0.1:0"):
    """Serve in this process while `check`, given the address, runs beside it."""

    async def both():
        roster = Roster(ServedVersion(bundle, backend(), Limits()))
        ports: asyncio.Queue[int] = asyncio.Queue()
        serving = asyncio.create_task(serve(roster, address, started=ports.put_nowait))
        first = asyncio.create_task(ports.get())
        await asyncio.wait((serving, first), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            first.cancel()
            return await serving
        try:
            return await asyncio.to_thread(check, f"127.0.0.1:{first.result()}")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await serving

    return asyncio.run(both())


def test_an_address_in_use_is_one_clear_error(toy, engine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressUnavailable, match=f"{address}: in use"):
            serve_here(toy, lambda: EmbeddedBackend(engine), lambda _: None, address)


def test_torchserve_behind_the_facade_answers_as_onnx_runtime_does(torchserve, bundle, onnx_engine):
    users = bundle.histories.user_id[:20].tolist()

    def check(address):
        with Client(address) as client:
            assert client.model_info().backend == "torchserve"
            with pytest.raises(InvalidQuery, match="candidate_ids: 0 given"):
                client.rank([])
            with ThreadPoolExecutor(8) as threads:
                return list(threads.map(lambda user: client.recommend(user_id=user), users))

    def backend():
        version = bundle.manifest.version
        return TorchServeBackend(
            torchserve.grpc_address,
            name=torchserve.name,
            version=version,
            key_file=torchserve.key_file,
        )

    replies = serve_here(bundle, backend, check)
    for user, reply in zip(users, replies, strict=True):
        [expected] = onnx_engine.rank([Query(user_id=user, top_k=10)])
        assert_same(reply, expected)


def test_a_facade_whose_torchserve_is_gone_says_unavailable_and_not_serving(toy, tmp_path):
    keys = tmp_path / "key_file.json"
    keys.write_text('{"inference": {"key": "k"}}')

    def check(address):
        with (
            Client(address) as client,
            pytest.raises(BackendUnavailable, match="what computes the scores does not answer"),
        ):
            client.rank([3])
        with grpc.insecure_channel(address) as channel:
            statuses = HealthStub(channel).List(MESSAGES.HealthListRequest()).statuses
            return {name: response.status for name, response in statuses.items()}

    states = serve_here(
        toy, lambda: TorchServeBackend("127.0.0.1:1", name="toy", version="1", key_file=keys), check
    )
    assert states == {"": NOT_SERVING, SERVICE: NOT_SERVING, STORE: SERVING}
