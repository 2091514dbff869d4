"""What computes the scores behind the façade: this process, or a TorchServe."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import grpc
from google.protobuf.empty_pb2 import Empty
from pytorch_serve import inference_pb2 as pb
from pytorch_serve.inference_pb2_grpc import InferenceAPIsServiceStub

from handlers import wire
from handlers.engine import Engine
from handlers.errors import BackendUnavailable, InvalidQuery, WireError
from handlers.keys import KeyFile
from handlers.propagation import TRACE_HEADERS
from handlers.query import Query, Ranking

log = logging.getLogger(__name__)


class Backend(Protocol):
    """Answers batches of queries.

    name: what GetModelInfo calls it. in_flight: batches it computes at a time. largest_batch: the
    candidates of one batch; it is answered as a whole, so they bound how long its queries wait for
    each other, and should be many enough that what a batch costs by itself is little beside them.
    """

    name: str
    in_flight: int
    largest_batch: int

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; after `timeout_s` seconds nobody waits for it any more.

        Raises BackendUnavailable where none can be answered, or DeadlinePassed.
        """

    async def ready(self) -> bool:
        """Whether a batch would be answered now."""

    async def close(self) -> None:
        """Let go of threads and connections."""


class EmbeddedBackend:
    """An engine in this process, in a thread of its own, so that the event loop stays free."""

    name = "onnxruntime"
    in_flight = 1
    largest_batch = 4_096  # about 10 ms on a core; handing a batch over takes about 0.2

    def __init__(self, engine: Engine) -> None:
        """Answer with `engine`."""
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._engine.rank, queries)
        except Exception as error:  # of the graph's library, whichever it is
            log.error("the graph failed (%s)", error)
            raise BackendUnavailable(f"the graph failed ({error})") from error

    async def ready(self) -> bool:
        """True: an engine that stands is ready."""
        return True

    async def close(self) -> None:
        """End the thread once its batch is done."""
        self._thread.shutdown()


class TorchServeBackend:
    """A TorchServe that serves the .mar of the same bundle; one call carries a whole batch."""

    name = "torchserve"
    in_flight = 1
    largest_batch = 16_384  # a call takes 1 to 2 ms by itself

    def __init__(self, address: str, name: str, version: str, key_file: Path) -> None:
        """Call TorchServe's gRPC `address` for model `name` of `version`."""
        self._address = address
        self._model = {"model_name": name, "model_version": version}
        self._keys = KeyFile(key_file)
        # A batch is bounded in candidates, not in bytes: TorchServe's own limit is the one to meet.
        unlimited = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(address, options=unlimited)
        self._stub = InferenceAPIsServiceStub(self._channel)

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        # TorchServe hands no metadata on to the handler, only inputs.
        traced = TRACE_HEADERS.get()
        parts = {"body": wire.write_queries(queries)}
        parts.update((name, value.encode()) for name, value in traced)
        request = pb.PredictionsRequest(**self._model, input=parts)
        try:
            reply = await self._stub.Predictions(request, metadata=(*self._token(), *traced))
            answers = wire.read_rankings(reply.prediction)
        except grpc.RpcError as error:
            raise self._unavailable(error) from error
        except WireError as error:
            raise BackendUnavailable(f"TorchServe at {self._address}: {error}") from error
        if len(answers) != len(queries):
            raise BackendUnavailable(
                f"TorchServe at {self._address}: {len(answers)} answers to {len(queries)} queries"
            )
        return answers

    async def ready(self) -> bool:
        """Whether TorchServe says that every model has its workers."""
        try:
            reply = await self._stub.Ping(Empty(), metadata=self._token())
        except (grpc.RpcError, BackendUnavailable):
            return False
        return '"Healthy"' in reply.health

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    def _token(self) -> tuple[tuple[str, str]]:
        return (("authorization", f"Bearer {self._keys.key('inference')}"),)

    def _unavailable(self, error: grpc.RpcError) -> BackendUnavailable:
        said = " ".join((error.details() or "").split())[:300]
        return BackendUnavailable(f"TorchServe at {self._address}: {error.code().name} {said}")
