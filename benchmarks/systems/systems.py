"""The systems that are measured side by side: how each is started, and how it is called."""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
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
)
from benchmarks.load.transports import Caller, GrpcCaller, HttpCaller
from benchmarks.load.workload import Ask
from benchmarks.systems.environments import Environment
from benchmarks.systems.processes import Program, free_ports, program
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Ranking
from handlers.forms.replies import Replies
from handlers.torchserve.server import TorchServe

PYTRITON = Environment(
    "pytriton",
    ("nvidia-pytriton==0.7.0", "tritonclient==2.73.0", "onnxruntime==1.32.0", "numpy==1.26.4"),
)
LITSERVE = Environment("litserve", ("litserve==0.2.19", "onnxruntime==1.32.0", "numpy==2.4.6"))
PEERS = Path(__file__).parent / "peers"
WORKERS = 2
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
    """A started system: how to call it, and the processes it is made of."""

    caller: Caller
    form: Form
    pids: list[int]
    answers: bool = True  # whether it ranks at all; the echo does not


@dataclass(frozen=True)
class System:
    """A row of the table; `start` runs it as long as the context lasts."""

    key: str
    name: str
    start: Callable[[World], AbstractContextManager[Running]]


@contextmanager
def _echo(world: World) -> Iterator[Running]:
    from benchmarks.load.requests import query

    bundle = world.bundle
    [ranking] = Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle))).rank([query(world.asks[0])])
    assert isinstance(ranking, Ranking)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reply"
        file.write_bytes(Replies(bundle).write(ranking, 0.0))
        with program([sys.executable, "-m", "benchmarks.systems.echo", file]) as echo:
            address = echo.wait_for_line(r"ready on (\S+)")
            yield Running(GrpcCaller(address, RANK), Proto(), [echo.pid], answers=False)


def facade_command(bundle: Bundle, *options: str) -> list[str | Path]:
    """`anirank serve` for a bundle, as a user would write it."""
    manifest, store = bundle.manifest, bundle.folder.parent.parent
    command: list[str | Path] = [sys.executable, "-m", "anirank", "serve", "--store", store]
    command += ["--name", manifest.name, "--version", manifest.version]
    return [*command, "--address", "127.0.0.1:0", *options]


def facade_address(facade: Program) -> str:
    """HOST:PORT of a façade, once it answers."""
    return facade.wait_for_line(r" on (127\.0\.0\.1:\d+)")


def _facade(
    *options: str, connections: int = 1
) -> Callable[[World], AbstractContextManager[Running]]:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        with program(facade_command(world.bundle, *options)) as facade:
            caller = GrpcCaller(facade_address(facade), RANK, connections=connections)
            yield Running(caller, Proto(), [facade.pid])

    return start


def _torchserve(grpc: bool) -> Callable[[World], AbstractContextManager[Running]]:
    @contextmanager
    def start(world: World) -> Iterator[Running]:
        manifest = world.bundle.manifest
        with TorchServe(world.store / f"{manifest.name}.mar") as server:
            yield (
                _grpc_of(server, Binary(manifest.name, manifest.version))
                if grpc
                else _rest_of(server)
            )

    return start


@contextmanager
def _plain(world: World) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory() as folder,
        TorchServe(_archive(world.bundle, Path(folder))) as server,
    ):
        yield _rest_of(server)


@contextmanager
def _pytriton(world: World) -> Iterator[Running]:
    python = PYTRITON.python(world.cache)
    ports = free_ports(3)
    module, bundle = "benchmarks.systems.peers.pytriton_server", world.bundle.folder.resolve()
    # Triton looks for libpython by its name, and may find that of another Python's release.
    libraries = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    with program([python, "-m", module, bundle, *map(str, ports)], libraries) as server:
        server.wait_for_line("(ready)")
        caller = GrpcCaller(f"127.0.0.1:{ports[0]}", MODEL_INFER)
        yield Running(caller, Tensors("ranker"), [server.pid])


@contextmanager
def _litserve(world: World) -> Iterator[Running]:
    python = LITSERVE.python(world.cache)
    [port] = free_ports(1)
    module, bundle = "benchmarks.systems.peers.litserve_server", world.bundle.folder.resolve()
    with program([python, "-m", module, bundle, str(port)]) as server:
        server.wait_for_port(port)
        headers = {"Content-Type": "application/json"}
        caller = HttpCaller(f"http://127.0.0.1:{port}/predict", headers)
        yield Running(caller, Json(), [server.pid])


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


def _archive(bundle: Bundle, folder: Path) -> Path:
    """A .mar of the plain handler and the bundle's TorchScript, as TorchServe's guide makes one."""
    # The base handler takes .pt for TorchScript.
    shutil.copyfile(bundle.graph_file("ranker.ts"), folder / "ranker.pt")
    config = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "responseTimeout": 60}
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
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "plain.mar"


SYSTEMS = (
    System("facade", "façade", _facade()),
    System("again", "façade, again (A/A)", _facade()),
    System("echo", "gRPC echo (floor)", _echo),
    System(
        "workers",
        f"façade, {WORKERS} workers",
        _facade("--workers", str(WORKERS), connections=CONNECTIONS),
    ),
    System("over", "façade over TorchServe", _facade("--backend", "torchserve")),
    System("grpc", "TorchServe, this handler, gRPC", _torchserve(grpc=True)),
    System("rest", "TorchServe, this handler, REST", _torchserve(grpc=False)),
    System("plain", "TorchServe, plain handler", _plain),
    System("pytriton", "PyTriton", _pytriton),
    System("litserve", "LitServe", _litserve),
)
PEER_KEYS = ("grpc", "rest", "plain", "pytriton", "litserve")
