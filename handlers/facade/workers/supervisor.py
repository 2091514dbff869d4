"""Several processes that share one port, and the parent that keeps them running.

Each worker is a program of its own, started by a parent that never imports grpc; so, whatever
threads the parent has, a worker takes none of their locks along. The kernel hands each connection
to one of them (SO_REUSEPORT). The arrays of a bundle are mapped from its files, so that all workers
have them in memory once; ONNX Runtime's copy of the graph is each worker's own.
"""

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from anirank.errors import ServingError, WorkerError
from bundles.bundle import versions
from handlers.facade.settings import Settings
from handlers.facade.telemetry import logs
from handlers.facade.workers.metrics_page import shared_page
from handlers.facade.workers.port import reserve
from handlers.torchserve.server import TorchServe, check_archive
from handlers.torchserve.supervision import keep

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0  # before a worker that died is started again
STEADY_S = 30.0  # a worker that ran for so long had a good start
PATIENCE_S = 5.0  # beyond the grace period, for a worker to end

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

log = logging.getLogger(__name__)


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; see `serving.serve`.

    SIGHUP goes on to every worker. Raises ServingError where one cannot start.
    """
    logs.start(settings.log_level)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        settings = replace(settings, address=stack.enter_context(reserve(settings.address)))
        if settings.backend == "torchserve" and settings.torchserve is None:
            archive = settings.store / f"{settings.name}.mar"
            for version in settings.wanted(versions(settings.store, settings.name)):
                check_archive(archive, version)
            try:
                server = TorchServe(archive, trust=settings.trust, abandoned=signals.told)
            except ServingError:
                if signals.told.is_set():
                    return
                raise
            stack.callback(server.stop)
            # In a thread, and with no part of gRPC: workers only see its address and its keys.
            threading.Thread(target=asyncio.run, args=(keep(server),), daemon=True).start()
            settings = replace(
                settings,
                torchserve=server.grpc_address,
                keys=server.key_file,
                management=server.management_address,
            )
        lines, gone = stack.enter_context(shared_page(settings))
        lifeline = stack.enter_context(_pipe())
        _Parent(settings, signals, lifeline, gone).run(lambda line: say("\n".join([line, *lines])))


class _Signals:
    """The signals that came, while entered; told: one of those that end the process did."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.came: deque[int] = deque()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Signals":
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        self._wakes = signal.set_wakeup_fd(self._write)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakes)
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what `signal` gave
        os.close(self._read)
        os.close(self._write)

    def wait(self, files: list[int], timeout_s: float | None) -> list[int]:
        """Those of `files` that can be read, as soon as there is one, or a signal came."""
        readable, _, _ = select.select([self._read, *files], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        return [file for file in readable if file != self._read]

    def _note(self, number: int, _: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.told.set()
        self.came.append(number)


@dataclass(eq=False)
class _Worker:
    """A process, the pipe it tells of itself by, and what it has told."""

    process: "subprocess.Popen[bytes]"
    pipe: int
    begun: float = field(default_factory=time.monotonic)
    written: bytes = b""
    said: str | None = None


class _Parent:
    """Starts workers, starts again those that die, and ends with them."""

    def __init__(
        self,
        settings: Settings,
        signals: _Signals,
        lifeline: tuple[int, int],
        gone: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._lifeline = lifeline
        self._gone = gone
        self._workers: list[_Worker] = []
        self._due: list[float] = []  # when workers are to be started in the place of others
        self._pause_s = FIRST_PAUSE_S
        self._kill_at: float | None = None

    def run(self, say: Callable[[str], None]) -> None:
        """Until the last worker has ended; `say` is given what the first says of all."""
        try:
            for _ in range(self._settings.workers):
                self._start(again=False)
            while any(worker.said is None for worker in self._workers):
                self._step(starting=True)
            if self._workers and not self._signals.told.is_set():
                say(str(self._workers[0].said))
            while self._workers or self._due:
                self._step(starting=False)
        finally:
            for worker in self._workers:  # left only by an error
                worker.process.kill()
                worker.process.wait()

    def _step(self, starting: bool) -> None:
        """Wait for something to happen, and see to it."""
        now = time.monotonic()
        times = [*self._due, *([self._kill_at] if self._kill_at is not None else [])]
        timeout_s = max(min(times) - now, 0.0) if times else None
        by_pipe = {worker.pipe: worker for worker in self._workers}
        if not self._signals.came:
            for pipe in self._signals.wait(list(by_pipe), timeout_s):
                self._read(by_pipe[pipe])
        while self._signals.came:
            self._pass_on(self._signals.came.popleft())
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is not None:
                self._read(worker)
                self._bury(worker, code, starting)
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._send(signal.SIGKILL, self._workers)
            self._kill_at = None
        for moment in [moment for moment in self._due if moment <= now]:
            self._due.remove(moment)
            self._start(again=True)

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGHUP:  # which would end one that does not listen for it yet
            self._send(signal.SIGHUP, [each for each in self._workers if each.said is not None])
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._due.clear()
            self._send(signal.SIGTERM, self._workers)
            self._kill_at = time.monotonic() + self._settings.grace_s + PATIENCE_S

    def _send(self, number: int, workers: list[_Worker]) -> None:
        for worker in workers:
            worker.process.send_signal(number)

    def _read(self, worker: _Worker) -> None:
        """Take in what a worker tells; the end of its pipe is that of the worker."""
        with contextlib.suppress(BlockingIOError):
            worker.written += os.read(worker.pipe, 65_536)
        with contextlib.suppress(ValueError, KeyError):
            worker.said = str(json.loads(worker.written)["said"])

    def _bury(self, worker: _Worker, code: int, starting: bool) -> None:
        """Let go of a worker that has ended, and have another started unless all are to end."""
        self._workers.remove(worker)
        os.close(worker.pipe)
        self._gone(worker.process.pid)
        if self._signals.told.is_set():
            return
        fault = _fault(worker, code)
        if starting:
            raise WorkerError(fault)
        steady = worker.said is not None and time.monotonic() - worker.begun >= STEADY_S
        self._pause_s = FIRST_PAUSE_S if steady else self._pause_s
        log.error("%s; another is started in %.1f s", fault, self._pause_s)
        self._due.append(time.monotonic() + self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _start(self, again: bool) -> None:
        read, write = os.pipe()
        told = {
            "settings": self._settings.written(),
            "pipe": write,
            "lifeline": self._lifeline[0],
            "lenient": again,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "handlers.facade.workers.worker"],
            stdin=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=(write, self._lifeline[0]),
            process_group=0,  # Ctrl-C is the parent's, which says so to each worker once
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(told).encode())
        os.close(write)
        os.set_blocking(read, False)
        self._workers.append(_Worker(process, read))


def _fault(worker: _Worker, code: int) -> str:
    with contextlib.suppress(ValueError, KeyError):
        return str(json.loads(worker.written)["error"])
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"worker {worker.process.pid} {how}"


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
