"""A TorchServe of one's own: started for one .mar, ready when it says so, gone when let go."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from anirank.errors import BackendUnavailable, TorchServeError
from bundles import signature
from bundles.files import copy, digest, open_regular, write_text
from handlers import folders, ports
from handlers.torchserve.archive import read_archive, without_batching
from handlers.torchserve.java import java_home
from handlers.torchserve.keys import KeyFile, ask

HERE = Path(__file__).parent
PREFIX = "anirank-torchserve-"
# Whatever TMPDIR says: a path to a worker's socket may have 107 characters.
WITHIN = Path("/tmp")
START_S = 120.0  # a worker imports torch and loads the model; on two busy cores 10 to 20 seconds
STOP_S = 15.0
_POLL_S = 0.2
_FAILED = "Load model failed"  # in TorchServe's own log


class TorchServe:
    """A running TorchServe, on loopback, with a folder, ports and keys of its own.

    with TorchServe(Path("model_store/anime.mar")) as server:
        backend = TorchServeBackend(server.grpc_address, "anime", "1", server.key_file)

    name: the model's, as the .mar says. pid: the process and its group.
    rest_address, management_address: the URLs of the inference and the management API.
    grpc_address: HOST:PORT of the gRPC inference API. key_file: where the keys are; keys: those.
    logs: the folder of its logs, gone when the server goes.

    It ends with this process, however that ends. The folder of one that was killed the next start
    removes.
    """

    def __init__(
        self,
        mar: Path,
        *,
        rest_port: int = 0,
        grpc_port: int = 0,
        python: Path = Path(sys.executable),
        start_s: float = START_S,
        batching: bool = True,
        trust: Sequence[Path] = (),
        abandoned: threading.Event | None = None,
    ) -> None:
        """Start it with `python`'s torchserve and wait up to `start_s` seconds for the model.

        Port 0 is a free one, kept for it until it is stopped. batching: whether requests wait for
        others, as the .mar says, and go with them to the handler; they need not where each is a
        whole batch. trust: PEM files of public keys; unless there are none, one of them must have
        signed the .mar, handler and all, and a copy of it is served that nobody can change
        afterwards.
        abandoned: once set, nobody waits for the start any more, and it is given up. Raises
        TorchServeError where it does not start or does not load the model, with the last line it
        wrote, AddressUnavailable where a port is in use, SignatureError, and ModuleNotFoundError
        where this Python is to run it and has it not.
        """
        # What another Python lacks, its last words will say.
        if python == Path(sys.executable) and importlib.util.find_spec("ts") is None:
            raise ModuleNotFoundError("No module named 'ts'", name="ts")
        self._python, self._start_s, self._batching = python, start_s, batching
        self._abandoned = abandoned
        self._stopping = threading.Event()
        self._changing = threading.Lock()  # held by who starts or ends the process
        with contextlib.ExitStack() as opened:
            self._folder = opened.enter_context(folders.scratch(PREFIX, WITHIN))
            self._mar = self._signed_copy(mar, trust) if trust else mar.resolve()
            self.name, self._version = read_archive(self._mar)
            self.logs = self._folder / "logs"
            self.key_file = self._folder / "key_file.json"
            self._listen(rest_port, grpc_port, opened)
            self.keys = KeyFile(self.key_file, self.management_address)
            self._start()
            self._opened = opened.pop_all()

    def __enter__(self) -> "TorchServe":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def inference_key(self) -> str:
        """The key that the inference APIs ask for."""
        return self.keys.key("inference")

    def runs(self) -> bool:
        """Whether the server's process lives."""
        return self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopping.is_set()

    def answers(self) -> bool:
        """Whether a request for nothing is answered; may take `keys.ANSWER_S` seconds."""
        url = f"{self.rest_address}/predictions/{self.name}"
        try:
            ask(url, self.inference_key(), b"[]")
        except BackendUnavailable:
            return False
        return True

    def restart(self) -> None:
        """Start it again, on the same ports and with new keys; what is left of it is ended first.

        Waits for the model as at first, and raises the same; may then be called again. Does nothing
        once `stop` has been called, which ends the wait.
        """
        with self._changing:
            if self._stopping.is_set():
                return
            self._end()
            held = read_archive(self._mar)  # it may be another by now
            if held != (self.name, self._version):
                raise TorchServeError(
                    f"{self._mar}: holds {' '.join(held)}, should be {self.name} {self._version}"
                )
            self._start()

    def stop(self) -> None:
        """End the server, its workers, and its folder; nothing else. May be called again."""
        self._stopping.set()
        with self._changing:
            if self._folder.exists():  # else stopped before; the id may by now be another's
                self._end()
                self._opened.close()

    def _listen(self, rest_port: int, grpc_port: int, opened: contextlib.ExitStack) -> None:
        """Choose where it listens, and keep these ports for it: it takes them seconds later."""
        with contextlib.ExitStack() as kept:
            rest, management, metrics, grpc, grpc_management = (
                kept.enter_context(ports.reserve(f"127.0.0.1:{port}"))
                for port in (rest_port, 0, 0, grpc_port, 0)
            )
            if sys.platform == "linux":  # elsewhere what is kept is kept from it too
                opened.push(kept.pop_all())
        self.rest_address = f"http://{rest}"
        self.management_address = f"http://{management}"
        self.grpc_address = grpc
        self._settings = {
            "inference_address": self.rest_address,
            "management_address": self.management_address,
            "metrics_address": f"http://{metrics}",
            "grpc_inference_port": grpc.rpartition(":")[2],
            "grpc_management_port": grpc_management.rpartition(":")[2],
        }

    def _signed_copy(self, mar: Path, trust: Sequence[Path]) -> Path:
        """A copy of a .mar that nobody else can change, once its signature is checked."""
        copied = self._folder / "store" / mar.name
        copied.parent.mkdir()
        try:
            with open_regular(mar) as file:
                copy(file, copied)
        except OSError as error:
            raise TorchServeError(f"{mar}: cannot be copied ({error.strerror})") from error
        signature.check(mar, digest(copied), trust)
        return copied

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            if self._has_gone(STOP_S):
                break
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _start(self) -> None:
        self.key_file.unlink(missing_ok=True)  # keys of an earlier process
        self._process = self._launch()
        self.pid = self._process.pid
        try:
            self._wait_for_model()
        except BaseException:
            self._end()
            raise

    def _launch(self) -> "subprocess.Popen[bytes]":
        config, log_config, launcher = (
            HERE / name for name in ("config.properties", "log4j2.xml", "launcher.py")
        )
        for path in (config, log_config, launcher):
            if not path.is_file():
                raise TorchServeError(f"{path}: is missing")
        temporary = self._folder / "tmp"
        for folder in (self.logs, temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        lines = [config.read_text(encoding="utf-8"), "# Of this server alone."]
        lines += [f"{key}={value}" for key, value in self._settings.items()]
        if not self._batching:
            lines.append(f"model_snapshot={without_batching(self._mar)}")
        written = self._folder / "config.properties"
        write_text(written, "\n".join(lines) + "\n")
        home = java_home()
        # TMPDIR is Python's (the pid file), TEMP becomes Java's (the workers' sockets, the models).
        environment = os.environ | {
            "JAVA_HOME": str(home),
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "TMPDIR": str(temporary),
            "TEMP": str(temporary),
            "LOG_LOCATION": str(self.logs),
            "METRICS_LOCATION": str(self.logs),
            "ANIRANK_MODEL_METRICS": "off",  # log4j2.xml throws them away
        }
        environment.pop("TS_CONFIG_FILE", None)  # would take the place of ours
        command = [str(self._python), str(launcher), "--start", "--foreground", "--ncs"]
        command += ["--ts-config", str(written), "--log-config", str(log_config)]
        command += ["--model-store", str(self._mar.parent)]
        if self._batching:
            command += ["--models", self._mar.name]
        with (self.logs / "console.log").open("wb") as console:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.PIPE,  # which ends with this process; see `launcher`
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the workers are then of a group that can be ended by id
            )

    def _wait_for_model(self) -> None:
        deadline = time.monotonic() + self._start_s
        while not self._ready():
            if self._process.poll() is not None:
                raise TorchServeError(f"TorchServe ended at its start: {self._last_words()}")
            if self._stopping.is_set() or (self._abandoned and self._abandoned.is_set()):
                raise TorchServeError(f"{self.name}: TorchServe is no longer wanted")
            if _FAILED in self._log("ts_log.log"):  # it would try again, with the same end
                raise TorchServeError(f"{self.name} cannot be loaded: {self._last_words()}")
            if time.monotonic() > deadline:
                raise TorchServeError(
                    f"{self.name} is not ready after {self._start_s:.0f} s: {self._last_words()}"
                )
            time.sleep(_POLL_S)

    def _ready(self) -> bool:
        """Whether every worker of the model has loaded it."""
        try:
            url = f"{self.management_address}/models/{self.name}"
            workers = json.loads(ask(url, self.keys.key("management")))[0]["workers"]
        except (ValueError, BackendUnavailable):
            return False  # not listening yet, or about to write its keys
        return bool(workers) and all(worker["status"] == "READY" for worker in workers)

    def _last_words(self) -> str:
        """The last line of what the handler wrote, else of what the server did."""
        for name in ("model_log.log", "ts_log.log", "console.log"):
            if text := self._log(name).strip():
                return text.split("\n")[-1]
        return "it wrote nothing"

    def _log(self, name: str) -> str:
        path = self.logs / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def _has_gone(self, patience_s: float) -> bool:
        """Whether the whole group ends within `patience_s` seconds."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            self._process.poll()  # else it stays in the group as a zombie
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(_POLL_S / 4)
        return False
