"""What it costs a request to be seen: its id, the metrics, a trace, a line of the log.

    python -m benchmarks.serving.observability

Processor time of one request in microseconds, the least of `ROUNDS`, without the work of the
request itself; spans are made, and let go instead of sent.
"""

import asyncio
import logging
import os
import time
from typing import Any

import grpc
import numpy as np
from opentelemetry.sdk.trace import SpanProcessor

from handlers.engine.query import Familiarity, Query, Ranking
from handlers.facade.telemetry import logs
from handlers.facade.telemetry.batch import at_backend
from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.observer import Observer
from handlers.facade.telemetry.tracing import Tracing

REQUESTS, ROUNDS = 2_000, 7
QUERY = Query(candidate_ids=np.arange(200), top_k=10)
IDS, SCORES = np.empty(0, np.int64), np.empty(0, np.float32)
RANKING = Ranking(
    IDS, SCORES, SCORES, SCORES, SCORES, IDS, IDS, 0, Familiarity.KNOWN, compute_s=0.0005
)


def cost_us(observer: Observer, context: "grpc.aio.ServicerContext[Any, Any]") -> float:
    """Microseconds to see one request, which is a batch of its own."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REQUESTS):
            with observer.request("Rank", context) as seen:
                seen.asked(QUERY, "1")
                with at_backend([seen], 200, "onnxruntime"):
                    pass
                seen.answered(RANKING, 0.0001)
        best = min(best, time.process_time() - began)
    return best / REQUESTS * 1e6


def measure(context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    """Measure and print each, within a call."""
    log = logging.getLogger("handlers.requests")
    print(f"{'id alone':10} {cost_us(Observer(), context):6.1f} µs")
    print(f"{'metrics':10} {cost_us(Observer(Metrics()), context):6.1f} µs")
    tracing = Tracing(SpanProcessor())
    print(f"{'traces':10} {cost_us(Observer(tracing), context):6.1f} µs")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logs.formatter())
        log.addHandler(handler)
        log.propagate = False
        log.setLevel(logging.DEBUG)
        print(f"{'debug line':10} {cost_us(Observer(), context):6.1f} µs")


async def main() -> None:
    """Serve one call, in which the rest is done."""

    async def call(_: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        measure(context)
        return b""

    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Measure": grpc.unary_unary_rpc_method_handler(call)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("anirank", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        measure_there: Any = channel.unary_unary("/anirank/Measure")
        await measure_there(b"")
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
