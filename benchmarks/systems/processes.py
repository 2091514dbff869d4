"""Programs that are started, waited for, weighed and ended."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).parents[2]
START_S = 120.0
STOP_S = 30.0  # a façade may have a TorchServe of its own to end
_POLL_S = 0.1


class NotStarted(Exception):  # noqa: N818 - named as the other faults of a system are
    """A program that ended, or was not ready in time; the message is one line."""


class Program:
    """A started program; `said` is what it has written so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: IO[bytes]) -> None:
        self.pid = process.pid
        self._process, self._output = process, output

    @property
    def said(self) -> str:
        """Standard output and error together."""
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_for(self, ready: Callable[[], str | None], start_s: float = START_S) -> str:
        """What `ready` finds; raises NotStarted with the program's last line."""
        deadline = time.monotonic() + start_s
        while (found := ready()) is None:
            last = (self.said.strip().splitlines() or ["it wrote nothing"])[-1][:300]
            if not self.running():
                raise NotStarted(f"ended with {self._process.returncode}: {last}")
            if time.monotonic() > deadline:
                raise NotStarted(f"not ready after {start_s:.0f} s: {last}")
            time.sleep(_POLL_S)
        return found

    def wait_for_line(self, pattern: str, start_s: float = START_S) -> str:
        """The first group of a pattern in what it writes."""

        def found() -> str | None:
            match = re.search(pattern, self.said)
            return match[1] if match else None

        return self.wait_for(found, start_s)

    def wait_for_port(self, port: int, start_s: float = START_S) -> None:
        """Until somebody listens on a port of loopback."""

        def listens() -> str | None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return "yes"
            return None

        self.wait_for(listens, start_s)


@contextmanager
def program(
    command: Sequence[str | Path], environment: dict[str, str] | None = None
) -> Iterator[Program]:
    """A program from the repository's root, ended with all its group at the end."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    given = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | (environment or {})
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Program(process, output)
        finally:
            stop(process)


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: with what it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a program and whatever it has started."""
    family = relatives([process.pid])
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()  # psutil knows its own from a later one of the same id
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def relatives(pids: Iterable[int]) -> list[psutil.Process]:
    """Processes and all that descend from them, those that still run."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found |= {each.pid: each for each in (root, *root.children(recursive=True))}
    return list(found.values())


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of a core that processes and their descendants have used."""
    total = 0.0
    for each in relatives(pids):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def command_line(process: psutil.Process) -> str:
    """What a process was started with; empty where it has ended."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def memory_mib(process: psutil.Process) -> float:
    """Resident memory, what it shares with others included; 0 where it has ended."""
    with suppress(psutil.Error):
        return float(process.memory_info().rss) / 2**20
    return 0.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
