"""The systems that are measured side by side: how each is started, and how it is called."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from benchmarks.load.requests import (
    MODEL_INFER,
    PREDICTIONS,
    RANK,
    Binary,
    Form,
    Json,
    Proto,
    Tensors,
    query,
)
from benchmarks.load.transports import Caller, GrpcCaller, HttpCaller
from benchmarks.load.workload import Ask
from benchmarks.systems.environments import Environment
from benchmarks.systems.processes import Program, free_ports, program
from bundles.bundle import Bundle
from handlers.engine.loading import engine_of
from handlers.engine.query import Ranking
from handlers.forms.replies import Replies
from handlers.torchserve.server import TorchServe

PYTRITON = Environment(
    "pytriton",
    ("nvidia-pytriton==0.7.0", "tritonclient==2.73.0", "onnxruntime==1.32.0", "numpy==1.26.4"),
)
LITSERVE = Environment("litserve", ("litserve==0.2.19", "onnxruntime==1.32.0", "numpy==2.4.6"))
PEERS = Path(__file__).parent / "peers"
WORKERS = 2  # of each system that is measured with more than one
SCALE_S = 120.0  # for another worker of TorchServe's to load the model
# Callers of a service of several processes are several; one connection would reach one of them.
CONNECTIONS = 8


@dataclass(frozen=True)
class World:
    """What is served and asked: a bundle in its store, requests, and where peers are installed."""

    bundle: Bundle
    asks: list[Ask]
    cache: Path

    @property
    def store(self) -> Path:
        """The folder that the bundle's model stands in."""
        return self.bundle.folder.parent.parent


@dataclass(frozen=True)
class Running:
    """A started system: how to call it, and the processes it is made of.

    answers: whether it ranks at all; the echo does not. polls: whether it takes a core's time when
    nobody calls, and stands being halted by SIGSTOP meanwhile.
    """

    caller: Caller
    form: Form
    pids: list[int]
    answers: bool = True
    polls: bool = False


Starter = Callable[[World], AbstractContextManager[Running]]


@dataclass(frozen=True)
class System:
    """A row of the table; `start` runs it as long as the context lasts.

    workers: processes, or threads of theirs, that compute; only systems of as many are compared.
    """

    key: str
    name: str
    start: Starter
    workers: int = 1


def _connections(workers: int) -> int:
    return 1 if workers == 1 else CONNECTIONS


def _echo(processes: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        [ranking] = engine_of(world.bundle).rank([query(world.asks[0])])
        assert isinstance(ranking, Ranking)
        with ExitStack() as stack:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "reply"
            file.write_bytes(Replies(world.bundle).write(ranking, 0.0))
            address, pids = "127.0.0.1:0", []
            for _ in range(processes):  # the kernel deals out the connections to one port
                command = (sys.executable, "-m", "benchmarks.systems.echo", file, address)
                echo = stack.enter_context(program(command))
                address = echo.wait_for_line(r"ready on (\S+)")
                pids.append(echo.pid)
            caller = GrpcCaller(address, RANK, connections=_connections(processes))
            yield Running(caller, Proto(), pids, answers=False)

    return start


def facade_command(bundle: Bundle, *options: str) -> list[str | Path]:
    """`anirank serve` for a bundle, as a user would write it."""
    manifest, store = bundle.manifest, bundle.folder.parent.parent
    command: list[str | Path] = [sys.executable, "-m", "anirank", "serve", "--store", store]
    command += ["--name", manifest.name, "--version", manifest.version]
    return [*command, "--address", "127.0.0.1:0", *options]


def facade_address(facade: Program) -> str:
    """HOST:PORT of a façade, once it answers."""
    return facade.wait_for_line(r" on (127\.0\.0\.1:\d+)")


def _embedded(engine: str, workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        options = ("--engine", engine, "--workers", str(workers))
        with program(facade_command(world.bundle, *options)) as facade:
            address = facade_address(facade)
            caller = GrpcCaller(address, RANK, connections=_connections(workers))
            yield Running(caller, Proto(), [facade.pid])

    return start


def _http(workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        options = ("--engine", "compiled", "--workers", str(workers), "--http", "127.0.0.1:0")
        with program(facade_command(world.bundle, *options)) as facade:
            url = facade.wait_for_line(r"HTTP on (http://\S+)")
            headers = {"Content-Type": "application/json"}
            yield Running(HttpCaller(f"{url}/v1/rank", headers), Json(), [facade.pid])

    return start


def _over_torchserve(workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        with TorchServe(world.store / f"{world.bundle.manifest.name}.mar") as server:
            if workers > 1:
                _scale(server, workers)
            options = ["--backend", "torchserve", "--torchserve", server.grpc_address]
            options += ["--keys", str(server.key_file), "--calls", str(workers)]
            with program(facade_command(world.bundle, *options)) as facade:
                caller = GrpcCaller(facade_address(facade), RANK)
                yield Running(caller, Proto(), [facade.pid, server.pid])

    return start


def _scale(server: TorchServe, workers: int) -> None:
    """Give a TorchServe's model so many workers, and wait for them."""
    url = f"{server.management_address}/models/{server.name}"
    asked = urllib.request.Request(
        f"{url}?min_worker={workers}&max_worker={workers}&synchronous=true",
        headers={"Authorization": f"Bearer {server.keys.key('management')}"},
        method="PUT",
    )
    urllib.request.urlopen(asked, timeout=SCALE_S).close()


@contextmanager
def _torchserve(world: World) -> Iterator[Running]:
    manifest = world.bundle.manifest
    with TorchServe(world.store / f"{manifest.name}.mar") as server:
        yield _grpc_of(server, Binary(manifest.name, manifest.version))


def _plain(workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        with (
            tempfile.TemporaryDirectory() as folder,
            TorchServe(_archive(world.bundle, Path(folder), workers)) as server,
        ):
            yield _rest_of(server)

    return start


def _pytriton(workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        ports = free_ports(3)
        bundle = world.bundle.folder.resolve()
        command: list[str | Path] = [PYTRITON.python(world.cache)]
        command += ["-m", "benchmarks.systems.peers.pytriton_server", bundle, str(workers)]
        # Triton looks for libpython by its name, and may find that of another Python's release.
        libraries = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
        with program([*command, *map(str, ports)], libraries) as server:
            server.wait_for_line("(ready)")
            caller = GrpcCaller(f"127.0.0.1:{ports[0]}", MODEL_INFER)
            yield Running(caller, Tensors("ranker"), [server.pid])

    return start


def _litserve(workers: int) -> Starter:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        [port] = free_ports(1)
        bundle = world.bundle.folder.resolve()
        command: list[str | Path] = [LITSERVE.python(world.cache)]
        command += ["-m", "benchmarks.systems.peers.litserve_server", bundle, str(workers)]
        with program([*command, str(port)]) as server:
            server.wait_for_port(port)
            headers = {"Content-Type": "application/json"}
            caller = HttpCaller(f"http://127.0.0.1:{port}/predict", headers)
            yield Running(caller, Json(), [server.pid], polls=True)

    return start


def _grpc_of(server: TorchServe, form: Form) -> Running:
    token = (("authorization", f"Bearer {server.inference_key()}"),)
    return Running(GrpcCaller(server.grpc_address, PREDICTIONS, token), form, [server.pid])


def _rest_of(server: TorchServe) -> Running:
    headers = {
        "Authorization": f"Bearer {server.inference_key()}",
        "Content-Type": "application/json",
    }
    caller = HttpCaller(f"{server.rest_address}/predictions/{server.name}", headers)
    return Running(caller, Json(), [server.pid])


def _archive(bundle: Bundle, folder: Path, workers: int) -> Path:
    """A .mar of the plain handler and the bundle's TorchScript, as TorchServe's guide makes one."""
    # The base handler takes .pt for TorchScript.
    shutil.copyfile(bundle.graph_file("ranker.ts"), folder / "ranker.pt")
    config = {"minWorkers": workers, "maxWorkers": workers, "batchSize": 1, "responseTimeout": 60}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    options = {
        "model-name": "plain",
        "version": "1",
        "serialized-file": str(folder / "ranker.pt"),
        "handler": str(PEERS / "plain_handler.py"),
        "extra-files": str((bundle.folder / "manifest.json").resolve()),
        "config-file": "model-config.yaml",
        "export-path": str(folder),
    }
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    # The archiver works in TMPDIR/NAME: a folder of its own keeps two of them apart.
    own = os.environ | {"TMPDIR": str(folder)}
    subprocess.run(command, cwd=folder, env=own, check=True, capture_output=True)
    return folder / "plain.mar"


def keyed(key: str, workers: int) -> str:
    """The key of a system of so many workers."""
    return key if workers == 1 else f"{key}{workers}"


def _with_one_and_more(key: str, name: str, start: Callable[[int], Starter]) -> tuple[System, ...]:
    return (
        System(key, name, start(1)),
        System(keyed(key, WORKERS), f"{name}, {WORKERS} workers", start(WORKERS), WORKERS),
    )


SYSTEMS = (
    *_with_one_and_more("echo", "gRPC echo (floor)", _echo),
    *_with_one_and_more("facade", "façade, compiled", partial(_embedded, "compiled")),
    System("again", "façade, compiled, again (A/A)", _embedded("compiled", 1)),
    *_with_one_and_more("http", "façade, compiled, HTTP with JSON", _http),
    *_with_one_and_more("onnx", "façade, ONNX Runtime", partial(_embedded, "onnxruntime")),
    *_with_one_and_more("over", "façade over TorchServe", _over_torchserve),
    System("grpc", "TorchServe, this handler", _torchserve),
    *_with_one_and_more("plain", "TorchServe, plain handler", _plain),
    *_with_one_and_more("pytriton", "PyTriton", _pytriton),
    *_with_one_and_more("litserve", "LitServe", _litserve),
)
PEER_KEYS = ("plain", "pytriton", "litserve")  # servers that run none of this project's code
