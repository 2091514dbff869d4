"""The gRPC façade: anime.ranking.v1.RankingService over a backend."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import grpc
from anime.ranking.v1 import ranking_pb2 as pb
from anime.ranking.v1 import ranking_pb2_grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from handlers import messages
from handlers.backends import Backend
from handlers.batching import Batcher
from handlers.bundle import Bundle
from handlers.errors import (
    AddressUnavailable,
    BackendUnavailable,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
    ServingError,
)
from handlers.profile import ProfileField
from handlers.query import Limits, Query

SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"].full_name
READY_INTERVAL_S = 1.0  # between two looks at whether the backend is ready

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CODES: dict[type[ServingError], grpc.StatusCode] = {
    InvalidQuery: grpc.StatusCode.INVALID_ARGUMENT,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    BackendUnavailable: grpc.StatusCode.UNAVAILABLE,
}
_Read = Callable[[Any, Sequence[ProfileField]], Query]

log = logging.getLogger(__name__)


async def serve(
    bundle: Bundle,
    backend: Backend,
    address: str,
    limits: Limits | None = None,
    started: Callable[[int], None] | None = None,
    grace_s: float = 10.0,
) -> None:
    """Serve on `address` (HOST:PORT, port 0 for a free one) until SIGTERM or SIGINT.

    Calls `started` with the port once requests are answered. On a signal: health says NOT_SERVING,
    no request is taken any more, those in flight have `grace_s` seconds to end. Raises
    AddressUnavailable where `address` cannot be listened on. Closes the backend.
    """
    limits = limits or Limits()
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # an address in use is an error, not a share of its calls
            ("grpc.max_receive_message_length", limits.message_bytes),
        ]
    )
    service = RankingService(bundle, backend, limits)
    ranking_pb2_grpc.add_RankingServiceServicer_to_server(service, server)
    watched = Health()
    health_pb2_grpc.add_HealthServicer_to_server(watched, server)
    reflection.enable_server_reflection(
        (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:  # from here on: a signal may come before the first request
        loop.add_signal_handler(number, signalled.set)
    try:
        port = _listen(server, address)
        await watched.look(backend)
        await server.start()
        if started is not None:
            started(port)
        await watched.follow(backend, signalled)
        await server.stop(grace_s)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        await backend.close()


def _listen(server: grpc.aio.Server, address: str) -> int:
    try:
        port: int = server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressUnavailable(f"{address}: in use, or not an address of this machine") from error
    return port


class RankingService(ranking_pb2_grpc.RankingServiceServicer):
    """The methods of the service; each failure leaves with its status and its details."""

    def __init__(self, bundle: Bundle, backend: Backend, limits: Limits) -> None:
        """Answer with `backend`, which should serve `bundle`."""
        self._bundle = bundle
        self._info = messages.write_info(bundle, backend.name, limits)
        self._batcher = Batcher(backend, len(bundle.catalogue), limits)

    async def Rank(  # noqa: N802 - the proto's name
        self, request: pb.RankRequest, context: grpc.aio.ServicerContext
    ) -> pb.RankReply:
        """Order the candidates given."""
        return await self._answer(messages.read_rank, request, context)

    async def Recommend(  # noqa: N802 - the proto's name
        self, request: pb.RecommendRequest, context: grpc.aio.ServicerContext
    ) -> pb.RankReply:
        """Choose from the whole catalogue."""
        return await self._answer(messages.read_recommend, request, context)

    async def GetModelInfo(  # noqa: N802 - the proto's name
        self, request: pb.GetModelInfoRequest, context: grpc.aio.ServicerContext
    ) -> pb.ModelInfo:
        """Say which model answers."""
        return self._info

    async def _answer(
        self, read: _Read, request: Any, context: grpc.aio.ServicerContext
    ) -> pb.RankReply:
        try:
            query = read(request, self._bundle.manifest.profile)
            result, queue_s = await self._batcher.rank(query, context.time_remaining())
            if isinstance(result, InvalidQuery):
                raise result
            return messages.write_reply(result, self._bundle, queue_s)
        except (InvalidQuery, Overloaded, DeadlinePassed, BackendUnavailable) as error:
            failure: ServingError = error
        # Outside the except clause: abort raises, and what it raises is no part of the failure.
        return await _abort(context, failure)


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # grpc_health ships no types
    """Health checks that say what the backend says, and do not hold up the end."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[Any]] = set()
        self._ending = False

    async def Watch(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> None:
        """Stream the health of a service until the caller leaves or the server ends."""
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            await super().Watch(request, context)
        except asyncio.CancelledError:
            if not self._ending:
                raise
            # Returned from, the stream closes; left by the exception, gRPC would keep it open.
        finally:
            self._watches.discard(task)

    async def look(self, backend: Backend) -> None:
        """Say SERVING where the backend is ready, else NOT_SERVING."""
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if await backend.ready() else response.NOT_SERVING
        for service in ("", SERVICE):
            await self.set(service, status)

    async def follow(self, backend: Backend, signalled: asyncio.Event) -> None:
        """Look again and again until the event is set, then say NOT_SERVING for good.

        Ends the streams as well, which would outlast the server's grace.
        """
        while not signalled.is_set():
            try:
                await asyncio.wait_for(signalled.wait(), READY_INTERVAL_S)
            except TimeoutError:
                await self.look(backend)
        await self.enter_graceful_shutdown()
        await asyncio.sleep(0)  # the streams write the change before they end
        self._ending = True
        for task in self._watches:
            task.cancel()


async def _abort(context: grpc.aio.ServicerContext, error: ServingError) -> NoReturn:
    if isinstance(error, BackendUnavailable):
        log.error("%s", error)
    status = rpc_status.to_status(_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort raises")


def _status(error: ServingError) -> status_pb2.Status:
    status = status_pb2.Status(code=_CODES[type(error)].value[0], message=str(error))
    detail = _detail(error)
    if detail is not None:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _detail(error: ServingError) -> Any:
    if isinstance(error, InvalidQuery):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.reason
        )
        return error_details_pb2.BadRequest(field_violations=[violation])
    if isinstance(error, Overloaded):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        return error_details_pb2.RetryInfo(retry_delay=delay)
    return None
