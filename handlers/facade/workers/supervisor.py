"""Several processes that share one port, and the parent that keeps them running.

Each worker is a program of its own, started by a parent that never imports grpc; so, whatever
threads the parent has, a worker takes none of their locks along. The kernel hands each connection
to one of them (SO_REUSEPORT). The arrays of a bundle are mapped from one copy, so that all workers
have them in memory once; ONNX Runtime's copy of the graph is each worker's own.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable

from anirank.errors import WorkerError
from bundles.bundle import versions
from handlers.facade.settings import Settings
from handlers.facade.shutdown import Shutdown, ShutdownRequested
from handlers.facade.telemetry import logs
from handlers.facade.versions.copies import Copies
from handlers.facade.workers.metrics_page import shared_page
from handlers.facade.workers.worker import BEAT_S, Worker
from handlers.ports import reserve
from handlers.torchserve.archive import check_archive
from handlers.torchserve.supervision import keep, start

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0  # before a worker that died is started again
STEADY_S = 30.0  # a worker that ran for so long had a good start
HUNG_S = 15.0  # a worker that gives no sign of life for so long is replaced
PATIENCE_S = 5.0  # beyond the grace period, for a worker to end

log = logging.getLogger(__name__)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; see `process.serve`.

    SIGHUP goes on to every worker. Raises ServingError where one cannot start.
    """
    logs.start(settings.log_level)
    with contextlib.suppress(ShutdownRequested):
        asyncio.run(_serve(settings, announce))


async def _serve(settings: Settings, announce: Callable[[str], None]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        shutdown = stack.enter_context(Shutdown())
        # Until there are workers to pass it on to.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
        address = stack.enter_context(reserve(settings.address))
        settings = settings.model_copy(update={"address": address})
        if settings.http is not None:
            http = stack.enter_context(reserve(settings.http))
            settings = settings.model_copy(update={"http": http})
        if settings.backend == "torchserve" and settings.torchserve is None:
            settings = await _with_torchserve(settings, shutdown, stack)
        if settings.copies is None and not settings.map_store:
            copies = stack.enter_context(Copies())  # one for all workers, whoever of them dies
            settings = settings.model_copy(update={"copies": copies.folder})
        lines, forget = stack.enter_context(shared_page(settings))
        supervisor = Supervisor(settings, shutdown, forget)
        await supervisor.run(lambda line: announce("\n".join([line, *lines])))


async def _with_torchserve(
    settings: Settings, shutdown: Shutdown, stack: contextlib.AsyncExitStack
) -> Settings:
    """The settings of workers that share a TorchServe, which runs until the stack is left."""
    archive = settings.store / f"{settings.name}.mar"
    for version in settings.weights(versions(settings.store, settings.name)):
        check_archive(archive, version)
    starting = start(archive, settings.trust, batching=False)  # what the façade sends are batches
    server = await shutdown.unless_requested(starting)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    keeping = asyncio.create_task(keep(server))
    stack.callback(keeping.cancel)
    return settings.model_copy(
        update={
            "torchserve": server.grpc_address,
            "keys": server.key_file,
            "management": server.management_address,
        }
    )


class Supervisor:
    """Starts workers, starts again those that die, and ends with them."""

    def __init__(
        self, settings: Settings, shutdown: Shutdown, forget: Callable[[int], None]
    ) -> None:
        """Keep `settings.workers` until `shutdown`; `forget` is given the id of each that ended."""
        self._settings = settings
        self._shutdown = shutdown
        self._forget = forget
        self._workers: set[Worker] = set()

    async def run(self, announce: Callable[[str], None]) -> None:
        """Until the last worker has ended; `announce` is given the first one's lines for all.

        Raises WorkerError where one ends before it serves.
        """
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        ending = asyncio.create_task(self._end())
        try:
            workers = [await self._start(lenient=False) for _ in range(self._settings.workers)]
            lines = await asyncio.gather(*(self._first_line(worker) for worker in workers))
            if not self._shutdown.requested.is_set():
                announce(lines[0])
            await asyncio.gather(*(self._keep(worker) for worker in workers))
        finally:
            ending.cancel()
            for worker in list(self._workers):  # left only by an error
                worker.send(signal.SIGKILL)
                await worker.ended()

    async def _start(self, lenient: bool) -> Worker:
        worker = await Worker.start(self._settings, lenient)
        self._workers.add(worker)
        if self._shutdown.requested.is_set():
            worker.send(signal.SIGTERM)
        return worker

    async def _first_line(self, worker: Worker) -> str:
        line = await worker.served()
        if line is None and not self._shutdown.requested.is_set():
            raise WorkerError(await self._ended(worker))
        return line or ""

    async def _keep(self, worker: Worker) -> None:
        """Start another worker in the place of each that ends, until all are to end."""
        next_pause_s = FIRST_PAUSE_S
        while True:
            watching = asyncio.create_task(self._watch(worker))
            fault = await self._ended(worker)
            watching.cancel()
            if self._shutdown.requested.is_set():
                return
            if worker.line is not None and time.monotonic() - worker.started >= STEADY_S:
                next_pause_s = FIRST_PAUSE_S
            pause_s, next_pause_s = next_pause_s, min(2 * next_pause_s, LONGEST_PAUSE_S)
            log.error("%s; another is started in %.1f s", fault, pause_s)
            try:
                await self._shutdown.unless_requested(asyncio.sleep(pause_s))
            except ShutdownRequested:
                return
            worker = await self._start(lenient=True)

    async def _watch(self, worker: Worker) -> None:
        """Kill a worker that serves and gives no sign of life any more, so that it is replaced."""
        missed = seen = 0
        while missed * BEAT_S < HUNG_S:  # of this process's own time: both may have been stopped
            await asyncio.sleep(BEAT_S)
            missed = missed + 1 if worker.line is not None and worker.beats == seen else 0
            seen = worker.beats
        log.error(
            "worker %d has given no sign of life for %.0f s; it is killed", worker.pid, HUNG_S
        )
        worker.send(signal.SIGKILL)

    async def _ended(self, worker: Worker) -> str:
        """How a worker ended, once it has."""
        fault = await worker.ended()
        self._workers.discard(worker)
        self._forget(worker.pid)
        return fault

    def _reload(self) -> None:
        for worker in self._workers:
            if worker.line is not None:  # SIGHUP would end one that does not listen for it yet
                worker.send(signal.SIGHUP)

    async def _end(self) -> None:
        """Pass on the signals that ask for the end, and make an end where none comes."""
        await self._shutdown.requested.wait()
        self._send(signal.SIGTERM)
        left_s = self._settings.grace_s + PATIENCE_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._shutdown.forced.wait(), left_s)
            self._send(signal.SIGTERM)
            await asyncio.sleep(left_s)
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)
