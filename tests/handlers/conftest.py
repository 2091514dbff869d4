"""A toy model whose every number is known, as a bundle: what the tests of the engine reckon with.

All its numbers are multiples of 1/8 and small, so that float32 adds them up exactly in any order:
an answer is either the reference's or wrong. Ties are frequent.
"""

import asyncio
import hashlib
import json
import math
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
import torch
from anime.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from packaging.requirements import Requirement
from torch import Tensor, nn

from export import graphs
from handlers.bundle import ONNX, Bundle
from handlers.engine import Engine
from handlers.facade.backends import EmbeddedBackend
from handlers.facade.ending import Ending
from handlers.facade.server import serve as serve_facade
from handlers.facade.service import RankingService
from handlers.facade.versions import Roster, ServedVersion
from handlers.graph import OnnxGraph
from handlers.query import Familiarity, Limits, Objective, Query, Ranking
from handlers.reasons import Reasons
from handlers.torchserve import TorchServe

ANIME, USERS, DAYS_WEIGHT, BETA, MEAN = 60, 40, 4.0, 0.5, 7.0
GENRES, GENRE_WEIGHT = ("Action", "Sci-Fi"), 0.125
# An anime weighs as much as its rating lies above 5, and 1 if it is not rated; a genre adds as much
# for every anime of it. Dampings so large that nothing is left of what they damp, and a weight as
# large, bring the formula of the wide part to that, without a sum that float32 would round.
HUGE = 2.0**1000
WIDE = {
    "taste": 1.0,
    "damping": HUGE,
    "genre_damping": HUGE,
    "genres": [
        {"name": name, "liking": 0.0, "watching": GENRE_WEIGHT * HUGE, "usual": 0.0}
        for name in GENRES
    ],
}
PROFILE = [
    {"name": "gender", "kind": "category", "values": ["Female", "Male", "unknown"]},
    {"name": "days_watched", "kind": "number"},
]


class Facade(NamedTuple):
    """A façade in a process of its own."""

    address: str
    pid: int


Serving = Callable[..., AbstractContextManager[Facade]]


@dataclass(frozen=True)
class World:
    """The toy's numbers; row 0 of a table stands for what is not known."""

    anime_id: np.ndarray
    adult: np.ndarray
    base: np.ndarray
    popularity: np.ndarray
    taste: np.ndarray
    genre: np.ndarray
    user_id: np.ndarray
    user_bias: np.ndarray
    user_gender: np.ndarray
    user_days: np.ndarray
    gender_bias: np.ndarray
    histories: list[list[tuple[int, int]]]

    @staticmethod
    def make() -> "World":
        random = np.random.default_rng(5)

        def eighths(*shape: int) -> np.ndarray:
            return (random.integers(-8, 9, shape) / 8).astype(np.float32)

        anime_id = np.arange(1, ANIME + 1, dtype=np.int64) * 3
        return World(
            anime_id=anime_id,
            adult=np.arange(ANIME) % 7 == 6,
            base=7 + np.round(eighths(ANIME + 1)),
            popularity=np.round(eighths(ANIME + 1)),
            taste=np.round(2 * eighths(ANIME + 1, 2)) / 2,
            genre=np.arange(ANIME + 1)[:, None] % (2, 3) == (1, 0),
            user_id=np.arange(1, USERS + 1, dtype=np.int64) * 10,
            user_bias=eighths(USERS + 1),
            user_gender=random.integers(0, 4, USERS + 1),
            user_days=eighths(USERS + 1),
            gender_bias=eighths(4),
            histories=[
                [
                    (int(anime), int(random.integers(0, 11)))
                    for anime in random.choice(anime_id, random.integers(0, 12), replace=False)
                ]
                for _ in range(USERS)
            ],
        )

    def rank(self, query: Query) -> Ranking:
        """What the engine should answer, one number at a time."""
        users = {int(user): row for row, user in enumerate(self.user_id, start=1)}
        rows = {int(anime): row for row, anime in enumerate(self.anime_id, start=1)}
        user = users.get(query.user_id or 0, 0)
        stored = [(a, r or math.nan) for a, r in self.histories[user - 1]] if user else []
        given = list(zip(query.history_ids.tolist(), query.history_ratings.tolist(), strict=True))
        if query.candidate_ids is None:
            seen = {anime for anime, _ in given + stored}
            asked = [
                anime
                for anime, adult in zip(self.anime_id.tolist(), self.adult, strict=True)
                if (query.include_seen or anime not in seen) and (query.include_adult or not adult)
            ]
        else:
            asked = list(dict.fromkeys(query.candidate_ids.tolist()))
        watched = [(anime, rating) for anime, rating in given or stored if anime in rows]
        gender, days = (math.nan, math.nan) if query.profile is None else query.profile.tolist()
        gender = self.user_gender[user] if math.isnan(gender) else int(gender)
        days = self.user_days[user] if math.isnan(days) else days
        about = self.user_bias[user] + self.gender_bias[gender] + DAYS_WEIGHT * days
        scored = []
        for place, anime in enumerate(a for a in asked if a in rows):
            rating = min(max(self.base[rows[anime]] + about, 1), 10)
            parts = self._parts(rows[anime], watched, rows)
            wide = sum(added for added, *_ in parts)
            affinity = self.popularity[rows[anime]] + wide
            score = {
                Objective.RATING: rating,
                Objective.AFFINITY: affinity,
                Objective.BLENDED: affinity + BETA * (rating - MEAN),
            }[query.objective]
            scored.append((-score, place, anime, rating, affinity, wide, _chosen(parts)))
        scored = sorted(scored)[: query.top_k]
        new = Familiarity.NEW_WITH_HISTORY if given else Familiarity.NEW
        return Ranking(
            anime_ids=np.array([entry[2] for entry in scored], np.int64),
            scores=np.array([-entry[0] for entry in scored], np.float32),
            ratings=np.array([entry[3] for entry in scored], np.float32),
            affinities=np.array([entry[4] for entry in scored], np.float32),
            wides=np.array([entry[5] for entry in scored], np.float32),
            reasons=_reasons(scored) if query.explain else None,
            unknown_candidates=np.array([a for a in asked if a not in rows], np.int64),
            familiarity=Familiarity.KNOWN if user else new,
        )

    def _parts(
        self, row: int, watched: list[tuple[int, float]], rows: dict[int, int]
    ) -> list[tuple[float, int, float, int]]:
        """What each anime and each genre adds: how much, anime id, rating, genre (0, NaN, -1)."""
        parts: list[tuple[float, int, float, int]] = []
        for anime, rating in watched:
            weight = 1 if math.isnan(rating) else rating - 5
            parts.append((weight * (self.taste[rows[anime]] @ self.taste[row]), anime, rating, -1))
        for genre in np.flatnonzero(self.genre[row]).tolist():
            of_it = sum(bool(self.genre[rows[anime], genre]) for anime, _ in watched)
            parts.append((GENRE_WEIGHT * of_it, 0, math.nan, genre))
        return parts


def _chosen(
    parts: list[tuple[float, int, float, int]],
) -> tuple[list[tuple[float, int, float, int]], float]:
    """The three anime and two genres that add most, if above 0; and the sum of all others."""
    ordered = sorted(parts, key=lambda part: -part[0])
    raising = [part for part in ordered if part[0] > 0]
    anime, genres = ([p for p in raising if (p[3] < 0) is of] for of in (True, False))
    chosen = sorted(anime[:3] + genres[:2], key=lambda part: -part[0])
    return chosen, sum(part[0] for part in parts) - sum(part[0] for part in chosen)


def _reasons(scored: list[Any]) -> Reasons:
    chosen = [entry[6][0] for entry in scored]
    flat = [part for parts in chosen for part in parts]
    return Reasons(
        offsets=np.cumsum([0, *map(len, chosen)]),
        anime_ids=np.array([part[1] for part in flat], np.int64),
        ratings=np.array([part[2] for part in flat], np.float32),
        genres=np.array([part[3] for part in flat], np.int64),
        contributions=np.array([part[0] for part in flat], np.float32),
        rests=np.array([entry[6][1] for entry in scored], np.float64),
    )


class Toy(nn.Module):
    """The world as a served graph."""

    def __init__(self, world: World) -> None:
        super().__init__()
        tables = ("base", "popularity", "taste", "genre", "user_bias", "user_days", "gender_bias")
        for name in tables:
            self.register_buffer(name, torch.from_numpy(np.float32(getattr(world, name))))
        self.register_buffer("user_gender", torch.from_numpy(world.user_gender))
        for name, ids in (("anime", world.anime_id), ("users", world.user_id)):
            rows = np.zeros(int(ids.max()) + 1, np.int64)
            rows[ids] = np.arange(1, len(ids) + 1)
            self.register_buffer(name, torch.from_numpy(rows))

    def forward(
        self,
        user_id: Tensor,
        history_ids: Tensor,
        history_ratings: Tensor,
        profile: Tensor,
        candidate_ids: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        user, seen = _rows(self.users, user_id), _rows(self.anime, history_ids)
        weight = torch.nan_to_num(history_ratings - 5, nan=1.0)
        weight = weight * (seen > 0)
        likes = (self.taste[seen] * weight.unsqueeze(2)).sum(1)
        given = torch.nan_to_num(profile[:, 0], 0.0).long()
        gender = torch.where(torch.isnan(profile[:, 0]), self.user_gender[user], given)
        days = torch.where(torch.isnan(profile[:, 1]), self.user_days[user], profile[:, 1])
        about = self.user_bias[user] + self.gender_bias[gender] + DAYS_WEIGHT * days
        rows = _rows(self.anime, candidate_ids)
        wide = (self.taste[rows] * likes.unsqueeze(1)).sum(2)
        genres = (self.genre[seen] * (seen > 0).unsqueeze(2)).sum(1) * GENRE_WEIGHT
        wide = wide + (self.genre[rows] * genres.unsqueeze(1)).sum(2)
        return (
            # What is not finite stays so: NaN.
            (self.base[rows] + about.unsqueeze(1)).clamp(1, 10) + (about - about).unsqueeze(1),
            self.popularity[rows] + wide,
            wide,
            rows > 0,
        )


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    inside = (ids > 0) & (ids < table.shape[0])
    return table[torch.where(inside, ids, torch.zeros_like(ids))]


def write_bundle(world: World, folder: Path) -> None:
    """A bundle of the world in `folder`, a new one."""
    (folder / "catalogue").mkdir(parents=True)
    (folder / "histories").mkdir()
    (folder / "crosses").mkdir()
    graphs.trace(Toy(world), len(PROFILE), folder / "ranker.ts")
    graphs.to_onnx(Toy(world), len(PROFILE), folder / "ranker.onnx", {})
    (folder / "vocabularies.json").write_text("{}")
    titles = [f"Title {anime} ・ 題".encode() for anime in world.anime_id]
    genres = [", ".join(np.array(GENRES)[of]).encode() for of in world.genre[1:]]
    flat = [pair for history in world.histories for pair in history]
    for name, array in {
        "catalogue/anime_id": world.anime_id,
        "catalogue/title": np.array(titles, np.bytes_),
        "catalogue/genres": np.array(genres, np.bytes_),
        "catalogue/type": np.array([b"TV"] * ANIME, np.bytes_),
        "catalogue/adult": world.adult,
        "crosses/candidate": np.tile(np.arange(ANIME, dtype=np.int32), (ANIME, 1)),
        "crosses/weight": world.taste[1:] @ world.taste[1:].T,
        "crosses/expected": np.full(ANIME, 6.0),
        "crosses/genre": world.genre[1:],
        "histories/user_id": world.user_id,
        "histories/offsets": np.cumsum([0, *map(len, world.histories)], dtype=np.int64),
        "histories/anime_id": np.array([anime for anime, _ in flat], np.int32),
        "histories/rating": np.array([rating for _, rating in flat], np.int8),
    }.items():
        np.save(folder / f"{name}.npy", array)
    manifest: dict[str, Any] = {
        "format": 1,
        "name": "toy",
        "version": folder.name,
        "preset": "toy",
        "label": "rating",
        "created": "2024-01-01T00:00:00+00:00",
        "data_fingerprint": "00ff",
        "libraries": {"torch": torch.__version__},
        "graph": {"uses_history": True, **graphs.signature()},
        "profile": PROFILE,
        "score": {"beta": BETA, "mean": MEAN},
        "wide": WIDE,
        "parity": {"onnx": 0.0},
        "metrics": {"test": {"rmse": 1.25}},
        "files": {
            path.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def publish(bundle: Path, store: Path, version: str, name: str = "toy") -> Path:
    """Put a copy of a bundle into a store, as another version, at once and whole."""
    scratch, folder = store / name / f".{version}", store / name / version
    shutil.copytree(bundle, scratch)
    manifest = json.loads((scratch / "manifest.json").read_text())
    (scratch / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
    return scratch.rename(folder)


@contextmanager
def run_serve(
    store: Path, *options: Any, program: Sequence[Any] = ("-m", "anirank")
) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """`anirank serve` of toy: the process, its address, and what it said; it must end with 0."""
    command = [sys.executable, *program, "serve", "--store", store, "--name", "toy"]
    command += ["--address", "127.0.0.1:0", *options]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r" on (\S+),", said)
            assert found is not None, process.communicate(timeout=60)
            yield process, found[1], said
            process.terminate()
            assert process.wait(60) == 0
        except BaseException:
            process.kill()
            raise


@pytest.fixture(scope="session")
def world() -> World:
    return World.make()


@pytest.fixture(scope="session")
def toy_dir(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model_store/toy/1: history, categories and ties in one small model."""
    folder = tmp_path_factory.mktemp("toy_store") / "toy" / "1"
    write_bundle(world, folder)
    return folder


@pytest.fixture(scope="session")
def next_world(world: World) -> World:
    """What a later training found: the same anime and users, and other tastes."""
    return replace(world, taste=-world.taste[::-1].copy(), popularity=-world.popularity)


@pytest.fixture(scope="session")
def next_dir(next_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """toy/2, in a store of its own."""
    folder = tmp_path_factory.mktemp("next_store") / "toy" / "2"
    write_bundle(next_world, folder)
    return folder


@pytest.fixture
def store(toy_dir: Path, tmp_path: Path) -> Path:
    """A store of one's own with toy/1."""
    shutil.copytree(toy_dir, tmp_path / "store" / "toy" / "1")
    return tmp_path / "store"


@pytest.fixture(scope="session")
def toy(toy_dir: Path) -> Bundle:
    return Bundle.open(toy_dir)


@pytest.fixture(scope="session")
def graph(toy: Bundle) -> OnnxGraph:
    return OnnxGraph(toy.graph_file(ONNX))


@pytest.fixture(scope="session")
def engine(toy: Bundle, graph: OnnxGraph) -> Engine:
    return Engine(toy, graph)


class Held:
    """A graph that computes nothing while it is held: `arrived` says that a batch waits at it."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph, self.cells = graph, graph.cells
        self.arrived, self.free = threading.Event(), threading.Event()

    def run(self, inputs: Any) -> Any:
        self.arrived.set()
        assert self.free.wait(60)
        return self.graph.run(inputs)


@pytest.fixture
def held(graph: OnnxGraph) -> Iterator[Held]:
    held = Held(graph)
    yield held
    held.free.set()


Serve = Callable[..., str]


@pytest.fixture
def serve(toy: Bundle, engine: Engine) -> Iterator[Serve]:
    """Starts façades, each in a thread of its own; a call gives the address of one."""
    with ExitStack() as started:
        known = {"bundle": toy, "engine": engine}
        yield lambda **options: started.enter_context(_served(**{**known, **options}))


@contextmanager
def _served(
    bundle: Bundle,
    engine: Engine,
    backend: Callable[[], Any] | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[str]:
    ports: queue.Queue[int] = queue.Queue()
    ending: list[Callable[[], None]] = []

    async def answer() -> None:
        told = Ending()
        loop = asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(told.tell))
        bounds = limits or Limits()
        computes = backend() if backend is not None else EmbeddedBackend(engine)
        roster = Roster(ServedVersion(bundle, computes, bounds))
        await serve_facade(roster, "127.0.0.1:0", bounds, ports.put, ending=told, **options)

    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(asyncio.run, answer())
        while True:
            try:
                address = f"127.0.0.1:{ports.get(timeout=0.1)}"
                break
            except queue.Empty:
                if ended.done():
                    ended.result()
        try:
            yield address
        finally:
            ending[0]()
            ended.result(60)


@contextmanager
def _serving(store: Path, log: Path, *options: str | Path, **environment: str) -> Iterator[Facade]:
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", *map(str, options)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | environment,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            found = re.search(r" on (\S+),", process.stdout.readline())
            assert found is not None, log.read_text()
            yield Facade(found[1], process.pid)
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=30)
            with log.open("a") as file:
                file.write(said)
            assert process.returncode == 0


class Gate:
    """A real backend behind a gate that the test opens; notes the batches that come, with times."""

    name = "gate"

    def __init__(self, engine: Engine, largest_batch: int = 4_000, in_flight: int = 1) -> None:
        self.largest_batch, self.in_flight = largest_batch, in_flight
        self.backend, self.open = EmbeddedBackend(engine), asyncio.Event()
        self.batches: list[list[Query]] = []
        self.timeouts: list[float | None] = []

    async def rank(self, queries: list[Query], timeout_s: float | None = None) -> list[Any]:
        self.batches.append(queries)
        self.timeouts.append(timeout_s)
        await self.open.wait()
        return await self.backend.rank(queries, timeout_s)

    async def ready(self) -> bool:
        return self.open.is_set()

    async def close(self) -> None:
        await self.backend.close()


class Gated:
    """A service on a port of this loop, the gate that it computes behind, and a stub to call it."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.gate = Gate(engine)
        self.version = ServedVersion(engine.bundle, self.gate, limits)
        self.service = RankingService(Roster(self.version), limits)
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.channel = grpc.aio.insecure_channel(self.address)
        self.stub = RankingServiceStub(self.channel)

    @property
    def arrived(self) -> int:
        """How many queries have come to the gate."""
        return sum(map(len, self.gate.batches))

    async def until_at_the_gate(self) -> None:
        """Wait for a first batch, and a little for what should wait behind it."""
        while not self.gate.batches:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    async def until_streams_ended(self) -> None:
        while any("Stream._" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)


@pytest.fixture
def gate() -> type[Gate]:
    return Gate


@pytest.fixture
def gated(engine: Engine) -> Callable[..., Any]:
    """Runs an async check of a `Gated`: gated(check, limits)."""

    async def run(check: Callable[[Gated], Any], limits: Limits) -> Any:
        here = Gated(engine, limits)
        await here.server.start()
        try:
            return await check(here)
        finally:
            here.gate.open.set()
            await here.channel.close()
            await here.server.stop(None)
            await here.gate.close()

    return lambda check, limits: asyncio.run(run(check, limits))


@pytest.fixture(scope="session")
def serving(toy_dir: Path) -> Serving:
    """`anirank serve` of the toy: serving(log, *options) as façade; it ends with exit code 0."""
    return partial(_serving, toy_dir.parents[1])


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with torch, numpy and torchserve, what these need, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for installed in _closure({"torch", "numpy", "torchserve", "pyyaml"}):
        tops = {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            source = Path(str(installed.locate_file(top)))
            if top == "ts":  # TorchServe follows links to find its home, and would find ours
                shutil.copytree(source, packages / top)
            elif not (packages / top).exists():
                (packages / top).symlink_to(source)
    return folder / "bin" / "python"


def _closure(names: set[str]) -> list[Distribution]:
    """The distributions of these names and of all they require here."""
    found: dict[str, Distribution] = {}
    while names:
        name = names.pop()
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        required = [Requirement(line) for line in found[name].requires or ()]
        wanted = [r for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
        names |= {r.name.lower() for r in wanted} - found.keys()
    return list(found.values())


@pytest.fixture(scope="session")
def torchserve(mar_file: Path, bare_python: Path) -> Iterator[TorchServe]:
    """A TorchServe that serves the .mar, in a Python that has nothing of this repository."""
    with TorchServe(mar_file, python=bare_python) as server:
        yield server


@pytest.fixture(scope="session")
def bundle(bundle_dir: Path) -> Bundle:
    """The bundle that `torchserve` serves."""
    return Bundle.open(bundle_dir)


@pytest.fixture(scope="session")
def onnx_engine(bundle: Bundle) -> Engine:
    return Engine(bundle, OnnxGraph(bundle.graph_file(ONNX)))
