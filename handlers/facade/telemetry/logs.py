"""The log: one JSON object a line on standard error."""

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from handlers.facade.settings import Level

REPEAT_S = 30.0  # between two lines about one fault that goes on
MOST_LINES = 10_000  # that wait to be written; some MiB
FLUSH_S = 1.0  # for the last lines to be written in, at the end
QUIET_S = 5.0  # without a request that meets it, and a fault may be over

log = logging.getLogger(__name__)


class _Formatter(JsonFormatter):
    def formatTime(  # noqa: N802 - logging's name
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def formatter() -> logging.Formatter:
    """Makes of a record one line: time, level, pid, logger, message, and what `extra` holds."""
    return _Formatter(
        ["asctime", "levelname", "process", "name", "message"],
        rename_fields={"asctime": "time", "levelname": "level", "process": "pid", "name": "logger"},
    )


def start(level: Level = "info") -> None:
    """Write all logs of this process, those of libraries too, as JSON to standard error.

    Nobody waits for a line to be written. `logging.shutdown` waits a little for what is left.
    Libraries speak from `info` upwards at most: at `debug` they would write lines by themselves for
    each request.
    """
    handler = LinesInBackground(sys.stderr)
    handler.setFormatter(formatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_holds_no_metadata)
    logging.getLogger().setLevel(max(logging.INFO, getattr(logging, level.upper())))
    logging.getLogger("handlers").setLevel(level.upper())


class LinesInBackground(QueueHandler):
    """Has lines written by a thread of its own, so that a reader who stalls holds up nobody.

    Up to `MOST_LINES` wait to be written; of those beyond, their number is.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to the file behind `stream`, and to `stream` itself where there is none."""
        self._lines: queue.Queue[str] = queue.Queue(MOST_LINES)
        super().__init__(self._lines)
        self._stream = stream
        try:
            self._file: int | None = stream.fileno()
        except (OSError, ValueError):
            self._file = None
        self._dropped = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def prepare(self, record: logging.LogRecord) -> str:
        """A record's line, made by who logs: what it speaks of may be another a moment later."""
        return self.format(record)

    def enqueue(self, record: Any) -> None:
        """Have a line written that `prepare` made, unless too many wait."""
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait for what is to be written, up to `FLUSH_S`."""
        end = time.monotonic() + FLUSH_S
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            self._write(line)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                told = "%d lines of the log were dropped: nobody reads them in time"
                of = (log.name, logging.ERROR, __file__, 0, told, (dropped,), None)
                self._write(self.format(logging.LogRecord(*of)))
            self._lines.task_done()

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody is there to be told
            if self._file is None:
                self._stream.write(f"{line}\n")
                return
            # Not by way of the stream, whose lock would be held by who waits for the reader.
            left = f"{line}\n".encode(errors="backslashreplace")
            while left:
                left = left[os.write(self._file, left) :]


def _holds_no_metadata(record: logging.LogRecord) -> bool:
    # gRPC writes out each value of a call's metadata that is no text, a token too, and so lets who
    # sends such values fill the log.
    return not str(record.msg).startswith("Invalid encoding on")


@dataclass(slots=True)
class _Fault:
    """A fault: how often since the last line about it, and when the next may be written."""

    count: int = 0
    total: int = 0
    since: float = 0.0
    last: float = 0.0
    next_line: float = float("-inf")
    reported: bool = False  # that it is there; so its end is worth a line
    active: bool = False


class Faults:
    """Faults that many requests meet at once, each written when it begins, and when it is over.

    While it goes on, or comes and goes, there is at most one line about it in `REPEAT_S`, with how
    many requests met it since the last.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take seconds from `clock`."""
        self._clock = clock
        self._faults: dict[str, _Fault] = {}
        self.active = False  # whether there may be one that is not over

    def record(self, fault: str, message: str, level: int = logging.ERROR) -> None:
        """Count a request that met a fault, and write it down if it is time to."""
        state = self._faults.setdefault(fault, _Fault())
        now = self._clock()
        if not state.active:
            state.active, state.since, state.total = True, now, 0
        self.active = True
        state.last = now
        state.count += 1
        state.total += 1
        if now >= state.next_line:
            log.log(level, message, extra={"fault": fault, "requests": state.count})
            state.count, state.next_line, state.reported = 0, now + REPEAT_S, True

    def clear(self, fault: str) -> None:
        """Take note of a request that did not meet a fault: it may be over, if it was there."""
        state = self._faults.get(fault)
        if state is None or not state.active or self._clock() - state.last < QUIET_S:
            return
        state.active = False
        self.active = any(each.active for each in self._faults.values())
        if state.reported:
            state.reported = False
            seconds = round(state.last - state.since, 3)
            extra = {"fault": fault, "requests": state.total, "seconds": seconds}
            log.warning("%s is over", fault, extra=extra)
