import signal
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import InvalidQuery, ServingError
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Limits
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.backends.fallback import FallbackBackend
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.metrics_server import MetricsServer
from handlers.facade.telemetry.observer import Observer
from tests.handlers.facade.telemetry.scraping import scrape, settled, value
from tests.running.program import line_of, run_serve
from tests.toy.bundle import publish


def test_a_version_that_is_let_go_weighs_nothing():
    metrics = Metrics()
    with MetricsServer("127.0.0.1:0", metrics.registry) as server:
        for shares in ({"1": 1.0}, {"1": 0.9, "2": 0.1}, {"2": 1.0}):
            metrics.state(ready=True, queued=0, name="anime", shares=shares)
        samples = scrape(server.port)
    assert value(samples, "anirank_model_share", name="anime", version="1") == 0
    assert value(samples, "anirank_model_share", name="anime", version="2") == 1


def counted(samples):
    return {
        (dict(labels)["method"], dict(labels)["code"]): number
        for (name, *labels), number in samples.items()
        if name == "anirank_requests_total"
    }


def test_requests_are_counted_by_method_and_code(serve, observer, port):
    address = serve(observer=observer)
    with Client(address) as client, grpc.insecure_channel(address) as channel:
        for _ in range(3):
            client.rank([3])
        client.recommend()
        client.model_info()
        with pytest.raises(InvalidQuery):
            client.rank([])
        with pytest.raises(grpc.RpcError):
            RankingServiceStub(channel).GetModelInfo(pb.GetModelInfoRequest(model_version="9"))
        HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    samples = scrape(port)
    assert counted(samples) == {
        ("Rank", "OK"): 3,
        ("Rank", "INVALID_ARGUMENT"): 1,
        ("Recommend", "OK"): 1,
        ("GetModelInfo", "OK"): 1,
        ("GetModelInfo", "INVALID_ARGUMENT"): 1,
    }
    assert value(samples, "anirank_request_seconds_count", method="Rank") == 4
    assert value(samples, "anirank_request_seconds_sum", method="Rank") > 0
    assert value(samples, "anirank_requests_in_flight") == 0


def test_the_replys_own_times_are_those_of_the_metrics(serve, observer, port):
    with Client(serve(observer=observer)) as client, ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda user: client.recommend(user_id=user), range(200)))
    samples = scrape(port)
    for kind in ("queue", "compute"):
        times = [getattr(reply, f"{kind}_time").ToNanoseconds() / 1e9 for reply in replies]
        name = f"anirank_{kind}_seconds"
        assert value(samples, f"{name}_count", version="1") == len(replies)
        assert value(samples, f"{name}_sum", version="1") == pytest.approx(sum(times), abs=1e-6)
        for (bucket, *labels), number in samples.items():
            if bucket == f"{name}_bucket":
                bound = float(dict(labels)["le"])
                assert number == sum(time <= bound for time in times)
    whole = value(samples, "anirank_request_seconds_sum", method="Recommend")
    assert whole >= value(samples, "anirank_queue_seconds_sum", version="1")


def test_the_times_that_torchserve_says_are_those_of_the_metrics(
    serve, observer, port, torchserve, bundle
):
    version = bundle.manifest.version

    def backend():
        return TorchServeBackend(
            torchserve.grpc_address,
            name=torchserve.name,
            version=version,
            key_file=torchserve.key_file,
        )

    with Client(serve(observer=observer, bundle=bundle, backend=backend)) as client:
        replies = [client.recommend() for _ in range(10)]
    samples = scrape(port)
    for kind in ("queue", "compute"):
        times = [getattr(reply, f"{kind}_time").ToNanoseconds() / 1e9 for reply in replies]
        found = value(samples, f"anirank_{kind}_seconds_sum", version=version)
        assert found == pytest.approx(sum(times), abs=1e-6)


@pytest.mark.slow
def test_batches_are_counted_in_queries_and_in_candidates(serve, toy, observer, port, held):
    address = serve(
        observer=observer, backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held)))
    )
    with Client(address) as client, ThreadPoolExecutor(8) as threads:
        first = threads.submit(client.rank, [3])
        assert held.arrived.wait(60)
        others = [threads.submit(client.rank, [3, 6]) for _ in range(3)]
        others.append(threads.submit(client.recommend))
        samples = settled(port, "anirank_queue_length", 4)
        assert value(samples, "anirank_requests_in_flight") == 5
        assert value(samples, "anirank_batch_queries_count") == 1
        held.free.set()
        for future in (first, *others):
            future.result(60)
    samples = settled(port, "anirank_queue_length", 0)
    assert value(samples, "anirank_requests_in_flight") == 0
    assert value(samples, "anirank_batch_queries_sum") == 5
    assert value(samples, "anirank_batch_queries_count") <= 3
    assert value(samples, "anirank_batch_candidates_sum") == 1 + 3 * 2 + len(toy.catalogue)


def test_batches_of_the_fallback_are_counted(serve, engine, observer, port, tmp_path):
    keys = tmp_path / "key_file.json"
    keys.write_text('{"inference": {"key": "k"}}')

    def backend():
        gone = TorchServeBackend("127.0.0.1:1", name="toy", version="1", key_file=keys)
        return FallbackBackend(gone, EmbeddedBackend(engine))

    with Client(serve(observer=observer, backend=backend)) as client:
        assert value(scrape(port), "anirank_fallback_batches_total") == 0
        for _ in range(3):
            client.rank([3])
    samples = scrape(port)
    assert value(samples, "anirank_fallback_batches_total") == 3
    assert counted(samples) == {("Rank", "OK"): 3}


def test_what_ends_without_an_answer_is_counted_by_how_it_ended(serve, toy, observer, port, held):
    address = serve(
        observer=observer,
        backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held))),
        limits=Limits(queued=2),
    )
    with grpc.insecure_channel(address) as channel:
        rank = RankingServiceStub(channel).Rank
        request = pb.RankRequest(candidate_ids=[3])
        first = rank.future(request)
        assert held.arrived.wait(60)
        late = rank.future(request, timeout=0.2)
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        settled(port, "anirank_requests_total", 1, method="Rank", code="DEADLINE_EXCEEDED")
        left = rank.future(request)
        settled(port, "anirank_requests_in_flight", 2)
        left.cancel()
        settled(port, "anirank_requests_total", 1, method="Rank", code="CANCELLED")
        waiting = [rank.future(request) for _ in range(2)]
        settled(port, "anirank_requests_in_flight", 3)
        assert rank.future(request).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.free.set()
        assert all(len(future.result(60).ranking) == 1 for future in (first, *waiting))
    assert counted(scrape(port)) == {
        ("Rank", "OK"): 3,
        ("Rank", "DEADLINE_EXCEEDED"): 1,
        ("Rank", "CANCELLED"): 1,
        ("Rank", "RESOURCE_EXHAUSTED"): 1,
    }


def test_each_request_of_a_stream_is_counted(serve, observer, port):
    requests = [
        pb.RankStreamRequest(id=number, rank=pb.RankRequest(candidate_ids=ids))
        for number, ids in enumerate([[3], [], [6]])
    ]
    with grpc.insecure_channel(serve(observer=observer)) as channel:
        assert len(list(RankingServiceStub(channel).RankStream(iter(requests)))) == 3
    assert counted(scrape(port)) == {
        ("RankStream", "OK"): 2,
        ("RankStream", "INVALID_ARGUMENT"): 1,
    }


def test_a_message_too_large_is_a_call_that_is_no_request(serve, observer, port):
    limits = Limits(candidates=10, history=0, filter_ids=10)
    with Client(serve(observer=observer, limits=limits)) as client:
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            client.rank(range(2**60, 2**60 + 5_000))
        client.rank([3])
    samples = scrape(port)
    assert value(samples, "anirank_calls_total", method="Rank") == 2
    assert counted(samples) == {("Rank", "OK"): 1}


def test_two_facades_of_one_process_do_not_share_numbers(serve, observer, port):
    other = Observer(Metrics())
    with Client(serve(observer=observer)) as client:
        client.rank([3])
    with Client(serve(observer=other)) as client:
        client.recommend()
    assert counted(scrape(port)) == {("Rank", "OK"): 1}


def test_the_page_says_which_versions_serve_and_whether_they_would_answer(
    serve, observer, port, tmp_path
):
    serve(observer=observer)
    samples = scrape(port)
    assert value(samples, "anirank_ready") == 1
    assert value(samples, "anirank_model_share", name="toy", version="1") == 1
    keys = tmp_path / "key_file.json"
    keys.write_text('{"inference": {"key": "k"}}')
    gone = Metrics()
    serve(
        observer=Observer(gone),
        backend=lambda: TorchServeBackend("127.0.0.1:1", name="toy", version="1", key_file=keys),
    )
    with MetricsServer("127.0.0.1:0", gone.registry) as server:
        assert value(scrape(server.port), "anirank_ready") == 0


@pytest.mark.slow
def test_a_switch_of_versions_is_seen_on_the_page(store, next_dir):
    with run_serve(store, "--metrics-address", "127.0.0.1:0") as (process, address, _):
        port = int(line_of(process).rpartition(":")[2].removesuffix("/metrics\n"))
        with Client(address) as client:
            client.rank([3])
            publish(next_dir, store, "2")
            process.send_signal(signal.SIGHUP)
            samples = settled(port, "anirank_model_share", 1, name="toy", version="2")
            assert value(samples, "anirank_model_share", name="toy", version="1") == 0
            client.rank([3])
        for version in ("1", "2"):
            assert value(scrape(port), "anirank_compute_seconds_count", version=version) == 1


@pytest.mark.slow
def test_what_a_worker_had_counted_stays_when_it_dies(store):
    options = ("--workers", "2", "--metrics-address", "127.0.0.1:0")
    with run_serve(store, *options) as (process, address, _):
        port = int(line_of(process).rpartition(":")[2].removesuffix("/metrics\n"))
        workers = psutil.Process(process.pid).children()
        taken = {c.laddr.port for worker in workers for c in worker.net_connections()}
        assert port not in taken  # which the parent alone holds
        replies = []
        for user in range(24):
            with Client(address) as client:
                replies.append(client.recommend(user_id=user))
        workers[0].kill()
        workers[0].wait(60)
        samples = settled(port, "anirank_ready", 1)
        assert counted(samples) == {("Recommend", "OK"): 24}
        assert value(samples, "anirank_requests_in_flight") == 0
        assert value(samples, "anirank_model_share", name="toy", version="1") == 1
        for kind in ("queue", "compute"):
            times = [getattr(reply, f"{kind}_time").ToNanoseconds() / 1e9 for reply in replies]
            found = value(samples, f"anirank_{kind}_seconds_sum", version="1")
            assert found == pytest.approx(sum(times), abs=1e-6)
