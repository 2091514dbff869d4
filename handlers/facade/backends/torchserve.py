"""A TorchServe as a backend, whatever becomes of it."""

import asyncio
import logging
from collections.abc import Collection
from contextvars import Context
from pathlib import Path

import grpc

from anirank.errors import BackendUnavailable, DeadlinePassed, InvalidQuery, WireError
from bundles.bundle import Bundle
from bundles.manifest import Manifest
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.threads import in_thread
from handlers.facade.settings import Settings
from handlers.facade.telemetry.batch import TRACE_HEADERS
from handlers.forms import binary
from handlers.torchserve.archive import check_archive
from handlers.torchserve.inference import inference_pb2 as pb
from handlers.torchserve.inference.inference_pb2_grpc import InferenceAPIsServiceStub
from handlers.torchserve.keys import KeyFile
from handlers.torchserve.server import TorchServe
from handlers.torchserve.supervision import keep, start

CALL_S = 10.0  # the longest that a batch is waited for; the largest takes about 0.1 s
FALL_BACK_S = 2.0  # the same where there is a fallback, which is soon done itself
PROBE_S = 5.0  # the longest that the answer to a batch of no queries is; it waits for one other
FRESH_S = 1.0  # who has answered a moment ago is not asked whether it still does
# Between two looks whether it is back; each is twice the one before.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0

_REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
_DIED = "Worker died"  # in TorchServe's words; it starts another

_OPTIONS = [
    # A batch is bounded in candidates, not in bytes: TorchServe's own limit is the one to meet.
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", int(FIRST_PAUSE_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(LAST_PAUSE_S * 1000)),
    # A connection on which nothing has come for this long is tried, and given up where nothing
    # comes: the machine at its other end may have gone without a word.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

log = logging.getLogger(__name__)


class TorchServeBackend:
    """A TorchServe that serves the .mar of the same bundle; one call carries a whole batch.

    A call ends within `CALL_S` seconds, or when its batch has no time left. It is tried again once
    where the connection failed before an answer came, which is safe, as ranking changes nothing;
    once where the key was refused and there is another; and never where time ran out.

    After a call that says that TorchServe is gone, none is made until a batch of no queries, sent
    again and again, is answered: `rank` fails at once meanwhile, and `ready` is False. TorchServe's
    own Ping is not asked, which says Healthy while no worker lives.
    """

    name = "torchserve"
    largest_batch = 16_384  # a call takes 1 to 2 ms by itself

    def __init__(
        self,
        address: str,
        *,
        name: str,
        version: str,
        key_file: Path,
        management: str | None = None,
        in_flight: int = 1,
        call_s: float = CALL_S,
        probe_s: float = PROBE_S,
    ) -> None:
        """Call TorchServe's gRPC `address` for model `name` of `version`.

        key_file, management: see `KeyFile`. in_flight: calls at a time; as many as the model has
        workers. call_s, probe_s: in place of `CALL_S` and `PROBE_S`.
        """
        self.in_flight = in_flight
        self._address = address
        self._model = {"model_name": name, "model_version": version}
        self._keys = KeyFile(key_file, management)
        self._call_s, self._probe_s = call_s, probe_s
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = InferenceAPIsServiceStub(self._channel)
        self._fault: str | None = None  # why no call is made
        self._recovery: asyncio.Task[None] | None = None
        self._answered_at = -FRESH_S

    async def rank(
        self, queries: list[Query], timeout_s: float | None = None
    ) -> list[Ranking | InvalidQuery]:
        """Answer every query, in order; see `Backend.rank`."""
        if self._fault is not None:
            raise BackendUnavailable(self._fault)
        limit_s = min(self._call_s, self._call_s if timeout_s is None else timeout_s)
        hurried = limit_s < self._call_s
        try:
            answers = await self._call(queries, limit_s)
        except grpc.RpcError as error:
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            gone = error.code() is grpc.StatusCode.UNAVAILABLE or _DIED in str(error.details())
            fault = self._message(error)
            self._suspect(fault, certain=gone or (late and not hurried))
            kind = DeadlinePassed if late and hurried else BackendUnavailable
            raise kind(fault) from error
        except (BackendUnavailable, WireError) as error:
            self._suspect(f"TorchServe at {self._address}: {error}", certain=True)
            raise BackendUnavailable(f"TorchServe at {self._address}: {error}") from error
        if len(answers) != len(queries):
            raise BackendUnavailable(
                f"TorchServe at {self._address}: {len(answers)} answers to {len(queries)} queries"
            )
        return answers

    def is_quick(self, query: Query) -> bool:
        """False: every answer comes over a connection."""
        return False

    def rank_now(self, query: Query) -> Ranking | InvalidQuery:
        """Raise BackendUnavailable: nothing is computed here."""
        raise BackendUnavailable(f"TorchServe at {self._address}: answers no query at once")

    async def ready(self) -> bool:
        """Whether a batch would be answered now; says so within `probe_s` seconds."""
        now = asyncio.get_running_loop().time()
        if self._recovery is None and now - self._answered_at > FRESH_S:
            fault = await self._probe()
            if fault is not None:
                self._suspect(fault, certain=True)
        return self._fault is None

    async def check(self) -> None:
        """Send a batch of no queries; raises BackendUnavailable unless it is answered in time."""
        try:
            await self._call([], self._probe_s)
        except grpc.RpcError as error:
            raise BackendUnavailable(self._message(error)) from error
        except (BackendUnavailable, WireError) as error:
            raise BackendUnavailable(f"TorchServe at {self._address}: {error}") from error

    async def close(self) -> None:
        """Close the connection."""
        if self._recovery is not None:
            self._recovery.cancel()
        await self._channel.close()

    async def _call(self, queries: list[Query], timeout_s: float) -> list[Ranking | InvalidQuery]:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        # TorchServe hands no metadata on to the handler, only inputs.
        traced = TRACE_HEADERS.get()
        parts = {"body": binary.write_queries(queries)}
        parts.update((name, value.encode()) for name, value in traced)
        request = pb.PredictionsRequest(**self._model, input=parts)
        again = {grpc.StatusCode.UNAVAILABLE, *_REFUSED}  # each but once
        while True:
            key = self._keys.key("inference")
            metadata = (("authorization", f"Bearer {key}"), *traced)
            left_s = max(end - loop.time(), 0)
            try:
                reply = await self._stub.Predictions(request, metadata=metadata, timeout=left_s)
            except grpc.RpcError as error:
                if error.code() not in again or loop.time() >= end:
                    raise
                if error.code() in _REFUSED:
                    await asyncio.to_thread(self._keys.replace, "inference", key)
                again.remove(error.code())
            else:
                self._answered_at = loop.time()
                return binary.read_rankings(reply.prediction)

    async def _probe(self) -> str | None:
        """What is wrong; None where nothing is."""
        try:
            await self.check()
        except BackendUnavailable as error:
            return str(error)
        return None

    def _suspect(self, fault: str, certain: bool) -> None:
        """Look whether TorchServe is there, and make no call until then where it is certain not."""
        if certain:
            self._give_up(fault)
        if self._recovery is None:
            loop = asyncio.get_running_loop()
            self._recovery = loop.create_task(self._recover(), context=Context())  # of no trace

    def _give_up(self, fault: str) -> None:
        if self._fault is None:
            log.error("%s; no call is made until it answers again", fault)
        self._fault = fault

    async def _recover(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while (fault := await self._probe()) is not None:
                self._give_up(fault)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            if self._fault is not None:
                log.warning("TorchServe at %s answers again", self._address)
            self._fault = None
        finally:
            self._recovery = None

    def _message(self, error: grpc.RpcError) -> str:
        details = " ".join((error.details() or "").split())[:300]
        return f"TorchServe at {self._address}: {error.code().name} {details}"


class OwnTorchServe(TorchServeBackend):
    """A TorchServe that runs for this backend alone: kept running, and stopped with it."""

    def __init__(self, server: TorchServe, version: str, call_s: float = CALL_S) -> None:
        """Call `server`, which should serve `version`, and keep it; in the event loop."""
        super().__init__(
            server.grpc_address,
            name=server.name,
            version=version,
            key_file=server.key_file,
            management=server.management_address,
            call_s=call_s,
        )
        self._server = server
        self._keeping = asyncio.get_running_loop().create_task(keep(server))

    async def close(self) -> None:
        """Close the connection, and stop the server."""
        self._keeping.cancel()
        await super().close()
        await asyncio.to_thread(self._server.stop)


class Opener:
    """Calls the TorchServe that runs, or starts one for each version."""

    def __init__(self, settings: Settings) -> None:
        """Call or start what `settings` say."""
        self._settings = settings
        self._archive = settings.store / f"{settings.name}.mar"
        self._call_s = FALL_BACK_S if settings.fallback else CALL_S
        self.files = (self._archive,)

    async def probe(self, version: str) -> None:
        """Raise BackendUnavailable where a TorchServe that is not ours does not serve a version."""
        if self._settings.torchserve is not None:
            backend = self._running(self._settings.torchserve, version)
            try:
                await backend.check()
            finally:
                await backend.close()

    def graphs(self, manifest: Manifest) -> Collection[str]:
        """None: TorchServe has its own, in the .mar."""
        return ()

    def rehearse(self, bundle: Bundle) -> None:
        """Do nothing: nothing computes here."""

    async def open(self, bundle: Bundle) -> TorchServeBackend:
        """A backend for a bundle; raises TorchServeError and SignatureError."""
        version = bundle.manifest.version
        if self._settings.torchserve is not None:
            return self._running(self._settings.torchserve, version)
        await in_thread(lambda: check_archive(self._archive, version))
        server = await start(self._archive, self._settings.trust, batching=False)
        return OwnTorchServe(server, version, self._call_s)

    def _running(self, address: str, version: str) -> TorchServeBackend:
        settings = self._settings
        return TorchServeBackend(
            address,
            name=settings.name,
            version=version,
            key_file=settings.keys,
            management=settings.management,
            in_flight=settings.calls,
            call_s=self._call_s,
        )
