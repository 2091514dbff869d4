"""One of several processes that share a port, as its parent sees it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import Self

from handlers.facade.settings import Settings

BEAT_S = 1.0  # between two signs of life


class Worker:
    """A process that serves, and what it reports: one line of JSON for each thing.

    pid: the process. started: when, in seconds of the monotonic clock. line: what it says of itself
    once it answers requests, None until then. error: why it does not. beats: how often it has said
    that it lives, which it does every `BEAT_S` while it answers requests.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.started = time.monotonic()
        self.line: str | None = None
        self.error: str | None = None
        self.beats = 0
        self._reported = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: Settings, lenient: bool) -> Self:
        """Start a process that serves; see `process.serve`. It ends when this one does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "handlers.facade.workers.program"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,  # Ctrl-C is the parent's, which says so to each worker once
        )
        assert process.stdin is not None
        asked = {"settings": settings.model_dump_json(), "lenient": lenient}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            await process.stdin.drain()
        return cls(process)

    async def served(self) -> str | None:
        """Its `line`, as soon as it has one; None where it ends without."""
        await self._reported.wait()
        return self.line

    async def ended(self) -> str:
        """Why it ended, once it has."""
        code = await self._process.wait()
        await self._reading
        if self.error is not None:
            return self.error
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"worker {self.pid} {how}"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for report in self._process.stdout:
            with contextlib.suppress(ValueError):  # cut off by its end
                self.beats += 1
                told = json.loads(report)
                self.line = told.get("line", self.line)
                self.error = told.get("error", self.error)
                if told:  # more than that it lives
                    self._reported.set()
        self._reported.set()
