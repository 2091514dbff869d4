import queue
import re
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import BackendUnavailable
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.facade.telemetry.observer import Observer
from handlers.facade.telemetry.tracing import Tracing

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORDED = ("traceparent", f"00-{TRACE}-{CALLER}-01")
NOT_RECORDED = ("traceparent", f"00-{TRACE}-{CALLER}-00")


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def observer(spans):
    tracing = Tracing(SimpleSpanProcessor(spans))
    yield Observer(tracing)
    tracing.close()


@pytest.fixture
def call(serve, observer):
    """Calls a method of a façade of ours."""
    with grpc.insecure_channel(serve(observer=observer)) as channel:
        yield lambda method, request, *metadata: getattr(RankingServiceStub(channel), method)(
            request, metadata=metadata
        )


def by_name(spans):
    finished = spans.get_finished_spans()
    named = {span.name.rpartition("/")[2]: span for span in finished}
    assert len(named) == len(finished)
    return named


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


def test_a_request_is_a_span_of_its_callers_trace_with_its_true_times(call, spans):
    reply = call("Rank", pb.RankRequest(candidate_ids=[3, 6]), RECORDED, ("x-request-id", "r-1"))
    named = by_name(spans)
    assert named.keys() == {"Rank", "queue", "compute", "batch"}
    whole = named["Rank"]
    assert whole.name == "anime.ranking.v1.RankingService/Rank"
    assert whole.kind is SpanKind.SERVER
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == CALLER
    assert dict(whole.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "anime.ranking.v1.RankingService",
        "rpc.method": "Rank",
        "rpc.grpc.status_code": 0,
        "anirank.request_id": "r-1",
        "anirank.model_version": "1",
        "anirank.candidates": 2,
    }
    assert whole.status.status_code is StatusCode.UNSET
    for part in ("queue", "compute", "batch"):
        assert named[part].parent.span_id == whole.context.span_id
        assert named[part].context.trace_id == whole.context.trace_id
    assert seconds(named["queue"]) == pytest.approx(
        reply.queue_time.ToNanoseconds() / 1e9, abs=1e-6
    )
    assert seconds(named["compute"]) == pytest.approx(
        reply.compute_time.ToNanoseconds() / 1e9, abs=1e-6
    )
    assert named["queue"].end_time == named["compute"].start_time
    assert whole.start_time <= named["queue"].start_time
    assert whole.end_time >= named["compute"].end_time
    assert dict(named["batch"].attributes) == {
        "anirank.backend": "onnxruntime",
        "anirank.queries": 1,
        "anirank.candidates": 2,
    }


def test_a_request_without_a_trace_begins_one(call, spans):
    call("Recommend", pb.RecommendRequest())
    assert by_name(spans)["Recommend"].parent is None


def test_what_its_caller_does_not_record_is_not_recorded_here(call, spans):
    call("Rank", pb.RankRequest(candidate_ids=[3]), NOT_RECORDED)
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize("broken", ["", "00-x-y-01", "é" * 10_000, f"00-{'0' * 32}-{CALLER}-01"])
def test_a_broken_traceparent_begins_a_trace(call, spans, broken):
    if not broken.isascii():
        call("Rank", pb.RankRequest(candidate_ids=[3]), ("traceparent-bin", broken.encode()[:5000]))
    else:
        call("Rank", pb.RankRequest(candidate_ids=[3]), ("traceparent", broken))
    assert by_name(spans)["Rank"].parent is None


def test_a_refused_request_says_its_code_and_is_no_fault_of_the_server(call, spans):
    with pytest.raises(grpc.RpcError):
        call("Rank", pb.RankRequest(), RECORDED)
    span = by_name(spans)["Rank"]
    assert span.attributes["rpc.grpc.status_code"] == 3
    assert span.status.status_code is StatusCode.UNSET


def test_each_request_of_a_stream_is_a_span(call, spans):
    requests = [
        pb.RankStreamRequest(id=number, rank=pb.RankRequest(candidate_ids=[3])) for number in (5, 6)
    ]
    assert len(list(call("RankStream", iter(requests), RECORDED, ("x-request-id", "s")))) == 2
    found = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert {span.attributes["anirank.request_id"] for span in found} == {"s/5", "s/6"}
    assert {f"{span.parent.span_id:016x}" for span in found} == {CALLER}


def test_a_batch_of_many_traces_is_linked_to_each(serve, observer, spans, toy, held):
    address = serve(
        observer=observer, backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held)))
    )
    with grpc.insecure_channel(address) as channel:
        rank = RankingServiceStub(channel).Rank
        request = pb.RankRequest(candidate_ids=[3])
        first = rank.future(request, metadata=[NOT_RECORDED])
        assert held.arrived.wait(60)
        futures = [rank.future(request) for _ in range(2)]
        futures.append(rank.future(request, metadata=[NOT_RECORDED]))
        late = rank.future(request, timeout=0.5)  # once it is over, all are in the queue
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        held.free.set()
        for future in (first, *futures):
            future.result(60)
    found = spans.get_finished_spans()
    [batch] = [span for span in found if span.name == "batch"]
    assert batch.attributes["anirank.queries"] == 3
    asked = [
        span
        for span in found
        if span.kind is SpanKind.SERVER and span.attributes["rpc.grpc.status_code"] == 0
    ]
    [parent] = [span for span in asked if span.context.span_id == batch.parent.span_id]
    [other] = [span for span in asked if span is not parent]
    assert [link.context.span_id for link in batch.links] == [other.context.span_id]
    assert [link.context.span_id for link in other.links] == [batch.context.span_id]
    assert parent.links == ()
    assert other.context.trace_id != parent.context.trace_id


def test_a_batch_whose_backend_is_gone_is_a_fault(serve, observer, spans, tmp_path):
    keys = tmp_path / "key_file.json"
    keys.write_text('{"inference": {"key": "k"}}')

    def backend():
        return TorchServeBackend("127.0.0.1:1", name="toy", version="1", key_file=keys)

    client = Client(serve(observer=observer, backend=backend))
    with client, pytest.raises(BackendUnavailable):
        client.rank([3])
    named = by_name(spans)
    assert named["batch"].kind is SpanKind.CLIENT
    assert named["batch"].status.status_code is StatusCode.ERROR
    assert named["Rank"].status.status_code is StatusCode.ERROR
    assert named["Rank"].attributes["rpc.grpc.status_code"] == 14


def test_torchserve_is_told_of_the_trace(serve, observer, spans, torchserve, bundle):
    def backend():
        version = bundle.manifest.version
        return TorchServeBackend(
            torchserve.grpc_address,
            name=torchserve.name,
            version=version,
            key_file=torchserve.key_file,
        )

    address = serve(observer=observer, bundle=bundle, backend=backend)
    with grpc.insecure_channel(address) as channel:
        rank = RankingServiceStub(channel).Rank
        ids = bundle.catalogue.anime_id[:3].tolist()
        rank(pb.RankRequest(candidate_ids=ids), metadata=[RECORDED])
        rank(pb.RankRequest(candidate_ids=ids), metadata=[NOT_RECORDED])
    batch = by_name(spans)["batch"]
    expected = f"1 answers in .* ms, traceparent 00-{TRACE}-{batch.context.span_id:016x}-01"
    assert traced_lines(torchserve, expected) == 1


def test_torchserve_takes_the_trace_of_a_rest_caller(torchserve):
    request = urllib.request.Request(
        f"{torchserve.rest_address}/predictions/{torchserve.name}",
        data=b'{"candidate_ids": [1]}',
        headers={
            "Authorization": f"Bearer {torchserve.inference_key()}",
            "Content-Type": "application/json",
            "Traceparent": f"00-{TRACE}-{'1' * 16}-01",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        reply.read()
    assert (
        traced_lines(torchserve, f"1 answers in .* ms, traceparent 00-{TRACE}-{'1' * 16}-01") == 1
    )


def traced_lines(torchserve, expected):
    """How many lines of the handler's log hold this, once there is one."""
    for _ in range(300):
        text = (torchserve.logs / "model_log.log").read_text()
        if found := re.findall(expected, text):
            return len(found)
        threading.Event().wait(0.1)
    raise AssertionError(text)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector of OTLP that keeps what it is sent."""

    def __init__(self):
        self.spans: queue.Queue[tuple[str, str]] = queue.Queue()

    def Export(self, request, context):  # noqa: N802 - the proto's name
        for resource in request.resource_spans:
            attributes = {
                each.key: each.value.string_value for each in resource.resource.attributes
            }
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put((attributes["service.name"], span.name))
        return trace_service_pb2.ExportTraceServiceResponse()


def test_spans_arrive_at_a_collector_of_otlp(serve, monkeypatch):
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    tracing = Tracing()
    try:
        with Client(serve(observer=Observer(tracing))) as client:
            client.rank([3])
        tracing.close()  # sends off what is left
        found = {collector.spans.get(timeout=60) for _ in range(4)}
    finally:
        server.stop(None)
    names = {"anime.ranking.v1.RankingService/Rank", "queue", "compute", "batch"}
    assert found == {("anirank", name) for name in names}


def test_without_tracing_nothing_of_opentelemetry_is_imported():
    program = "import sys, handlers.facade.server; print('opentelemetry' in str(sys.modules))"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
