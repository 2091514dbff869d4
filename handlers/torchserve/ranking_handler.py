"""The handler of the .mar: TorchServe calls it with the requests it has gathered.

It stands at the archive's root, the package `handlers` and the folder `bundle` beside it.
"""

import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import torch

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Query
from handlers.engine.scorer import Scorer, can_compile
from handlers.engine.torchscript_graph import TorchScriptGraph
from handlers.torchserve.body import Body
from handlers.torchserve.options import read_options

MODEL_METRICS = "ANIRANK_MODEL_METRICS"  # off: nobody reads what TorchServe measures in a worker
_RECEIVED = "Backend received inference at"
TRACEPARENT = "traceparent"  # W3C Trace Context: of a request's input over gRPC, or its header
_SAMPLED = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")

log = logging.getLogger(__name__)


class RankingHandler:
    """Ranks; every item of every request of a batch goes through one call of the engine."""

    def initialize(self, context: Any) -> None:
        """Verify and load the bundle, and score once with it.

        Raises BundleError where the bundle or `model-config.yaml` is not as it should be.
        """
        _hush()
        properties = context.system_properties
        options = read_options(context.model_yaml_config)
        self._bundle = Bundle.open(Path(properties["model_dir"]) / "bundle")
        gpu = properties.get("gpu_id")
        device = f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu"
        self._engine = Engine(
            self._bundle, _scorer(self._bundle, device, options.threads), options.limits
        )
        self._engine.warm_up()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer each request with one reply.

        A request whose every item is wrong leaves with the status 400, which REST callers see; what
        is wrong with an item stands in its place in the reply, for gRPC callers as well.
        """
        started = time.monotonic()
        bodies = [Body(_content(row), self._bundle, self._engine.limits) for row in data]
        queries = [item for body in bodies for item in body.items if isinstance(item, Query)]
        ranked = iter(self._engine.rank(queries))
        replies = []
        for place, body in enumerate(bodies):
            answers = [next(ranked) if isinstance(item, Query) else item for item in body.items]
            if answers and all(isinstance(answer, InvalidQuery) for answer in answers):
                context.set_response_status(400, "Bad Request", place)
            context.set_response_content_type(place, body.content_type)
            replies.append(body.write(answers))
            if trace := _trace(data[place], context.get_all_request_header(place)):
                taken_ms = (time.monotonic() - started) * 1e3
                log.info("%d answers in %.1f ms, traceparent %s", len(answers), taken_ms, trace)
        return replies


def _hush() -> None:
    """Have TorchServe's own code say no more of each request than somebody reads.

    Its two lines take the worker, and Java to read them, 0.1 ms.
    """
    logging.getLogger().addFilter(lambda record: not str(record.msg).startswith(_RECEIVED))
    if os.environ.get(MODEL_METRICS) == "off":
        logging.getLogger("ts.metrics.caching_metric").setLevel(logging.WARNING)


def _scorer(bundle: Bundle, device: str, threads: int) -> Scorer:
    """Compiled code where Numba is installed and the device is a CPU, else TorchScript."""
    if device == "cpu" and can_compile(bundle.manifest):
        from handlers.engine.compiled.scorer import CompiledScorer

        return CompiledScorer(bundle, threads)
    return GraphScorer(bundle, TorchScriptGraph(bundle, device, threads))


def _content(row: dict[str, Any]) -> Any:
    """The request's body: `body` over REST, and `body` or `data` over gRPC."""
    return row["body"] if "body" in row else row.get("data", b"")


def _trace(row: dict[str, Any], headers: dict[str, Any]) -> str | None:
    """The W3C traceparent that a request came with, if its caller records the trace.

    TorchServe hands on the headers of REST, and of gRPC nothing but the inputs.
    """
    given = row.get(TRACEPARENT)
    for name, value in headers.items():
        if name.lower() == TRACEPARENT and isinstance(value, str):
            given = value
    text = given.decode("ascii", "replace") if isinstance(given, bytes | bytearray) else str(given)
    return text if _SAMPLED.fullmatch(text) else None
