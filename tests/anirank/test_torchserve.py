"""`anirank torchserve` as a user has it: the wheel, away from the checkout, and real signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from anirank.client.sync import Client
from handlers.torchserve import keys
from tests.running.installation import Installed
from tests.running.program import line_of

PATIENCE_S = 120.0
ANY_PORTS = ("--rest-port", "0", "--grpc-port", "0")
JAVA = "org.pytorch.serve.ModelServer"


def until(true: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Program:
    """A command that runs a TorchServe, and what it says on standard error."""

    def __init__(self, process: "subprocess.Popen[str]", errors: Path) -> None:
        self.process, self._errors = process, errors
        self._seen: list[psutil.Process] = []

    def said(self) -> str:
        return self._errors.read_text()

    def line(self) -> str:
        """The next that it writes; what it said of why there is none fails the test."""
        line = line_of(self.process)
        assert line, self.said()
        return line

    def places(self) -> tuple[str, str, Path]:
        """Where it answers over REST and gRPC, and where its keys are, as it says."""
        said = dict(self.line().split() for _ in range(3))
        return said["REST"], said["gRPC"], Path(said["keys"])

    def processes(self) -> list[psutil.Process]:
        """What it has started that still runs, the first first."""
        self._seen = psutil.Process(self.process.pid).children(recursive=True)
        return self._seen

    def java(self) -> psutil.Process | None:
        """TorchServe proper, once it is there."""
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
                if JAVA in each.cmdline():
                    return each
        return None

    def kill(self) -> None:
        """Leave nothing of it, whatever became of it."""
        if self.process.poll() is None:
            self.processes()
            self.process.kill()
        for each in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def end(self, number: signal.Signals) -> list[int]:
        """Ask for the end, which must come with exit code 0 and leave nothing of TorchServe.

        Returns the ports that it listened on until then.
        """
        processes = self.processes()
        group, folder = processes[0].pid, Path(processes[0].cwd())
        opened = [each for process in processes for each in process.net_connections()]
        ports = [each.laddr.port for each in opened if each.status == psutil.CONN_LISTEN]
        assert folder.is_dir()
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)
        assert not folder.exists()
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
        assert "Traceback" not in self.said()
        return ports


@pytest.fixture
def start(installed: Installed, mar_file: Path, tmp_path: Path) -> Callable[..., object]:
    """Starts a command of an environment with the extra `torchserve` alone."""
    environment = installed("torchserve")

    @contextlib.contextmanager
    def started(*arguments: str) -> Iterator[Program]:
        command = environment.command("anirank", *arguments, "--store", mar_file.parent)
        errors = tmp_path / "errors"
        with (
            errors.open("w") as file,
            subprocess.Popen(
                command,
                cwd=environment.elsewhere,
                env=environment.environment,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            ) as process,
        ):
            program = Program(process, errors)
            try:
                yield program
            finally:
                program.kill()

    return started


def ask(rest: str, key_file: Path) -> object:
    key = json.loads(key_file.read_text())["inference"]["key"]
    return json.loads(keys.ask(rest, key, b"[]"))


def test_one_whose_java_is_killed_is_started_again_and_sigterm_leaves_nothing_of_it(start) -> None:
    with start("torchserve", *ANY_PORTS) as program:
        rest, _, key_file = program.places()
        assert ask(rest, key_file) == []
        program.java().kill()
        until(lambda: "TorchServe runs again" in program.said())
        assert "TorchServe has ended; it is started again" in program.said()
        assert ask(rest, key_file) == []
        assert program.end(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_model_is_ready_leaves_nothing_either(start, number) -> None:
    with start("torchserve", *ANY_PORTS) as program:
        until(program.java)
        program.end(number)
        assert program.process.stdout.read() == ""


def test_a_facade_of_the_wheel_starts_a_torchserve_of_its_own(start) -> None:
    with start("serve", "--backend", "torchserve", "--address", "127.0.0.1:0") as program:
        address = program.line().split(" on ")[1].split(",")[0]
        with Client(address) as client:
            assert len(client.recommend(top_k=3).ranking) == 3
        assert program.end(signal.SIGTERM)
