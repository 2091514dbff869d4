"""Latency of a running façade, closed loop, and the floor under it.

    anirank serve &
    python benchmarks/latency.py --in-flight 8 --bundle model_store/anime/1

Each caller in flight sends its next request when the last is answered. With a bundle, raw ONNX
Runtime then scores the same requests one by one in this process, on one thread: what a request
costs with nothing around it.
"""

import argparse
import asyncio
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from anime.ranking.v1 import ranking_pb2 as pb
from anime.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from numpy.typing import NDArray

from handlers.bundle import ONNX, Bundle
from handlers.client import RankingClient
from handlers.graph import OnnxGraph

WARM_UP = 50  # requests of each caller that are not counted
USERS = 10_000  # ids the requests are spread over


@dataclass(frozen=True)
class Share:
    """What one client process does: `callers` callers, each sending `requests` requests."""

    address: str
    candidate_ids: list[int]
    callers: int
    requests: int
    seed: int


@dataclass(frozen=True)
class Figures:
    """Seconds of each request, float64[requests], and of them all together."""

    seconds: NDArray[np.float64]
    wall_s: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.wall_s

    @property
    def median_ms(self) -> float:
        """Milliseconds that half of the requests stay under."""
        return float(np.median(self.seconds) * 1e3)

    def line(self, name: str) -> str:
        """The figures as one line of a table."""
        p50, p90, p99 = np.percentile(self.seconds, [50, 90, 99]) * 1e3
        return f"{name:<14}{p50:>9.2f}{p90:>9.2f}{p99:>9.2f}{self.rate:>12,.0f}"


def main() -> None:
    """Measure, and print a table."""
    arguments = _arguments()
    with RankingClient(arguments.address) as client:
        info = client.model_info()
        catalogue = client.recommend(
            top_k=arguments.candidates, include_seen=True, include_adult=True
        )
    candidate_ids = [entry.anime_id for entry in catalogue.ranking]
    print(
        f"{info.name} {info.version} ({info.backend}), {len(candidate_ids)} candidates, "
        f"{arguments.in_flight} in flight, {arguments.requests:,} requests"
    )
    print(f"{'':<14}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'requests/s':>12}")
    facade = through_facade(
        arguments.address, candidate_ids, arguments.in_flight, arguments.requests
    )
    print(facade.line("façade"))
    if arguments.bundle is not None:
        floor = raw(arguments.bundle, candidate_ids, arguments.requests)
        print(floor.line("ONNX Runtime"))
        print(
            f"façade to floor: p50 {facade.median_ms / floor.median_ms:.1f} times, "
            f"requests/s {facade.rate / floor.rate:.2f} of it"
        )


def through_facade(
    address: str, candidate_ids: list[int], in_flight: int, requests: int
) -> Figures:
    """Requests through the façade, from one client process a core, or fewer."""
    processes = min(in_flight, os.cpu_count() or 1)
    each = max(requests // in_flight, 1)
    shares = [
        Share(address, candidate_ids, callers, each, seed)
        for seed, callers in enumerate(_split(in_flight, processes))
    ]
    # Forking a process in which gRPC has threads breaks both.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        spans = np.concatenate(list(pool.map(call, shares)))
    # The clock is the machine's, so that spans of several processes can be put together.
    return Figures(spans[:, 1] - spans[:, 0], float(spans[:, 1].max() - spans[:, 0].min()))


def call(share: Share) -> NDArray[np.float64]:
    """One client process: float64[requests, 2], when each request began and ended, in seconds."""
    return np.array(asyncio.run(_call(share)))


async def _call(share: Share) -> list[tuple[float, float]]:
    users = np.random.default_rng(share.seed)
    spans = []
    async with grpc.aio.insecure_channel(share.address) as channel:
        stub = RankingServiceStub(channel)

        async def caller() -> None:
            for place in range(WARM_UP + share.requests):
                user_id = int(users.integers(1, USERS))
                request = pb.RankRequest(user_id=user_id, candidate_ids=share.candidate_ids)
                began = time.monotonic()
                await stub.Rank(request)
                if place >= WARM_UP:
                    spans.append((began, time.monotonic()))

        await asyncio.gather(*(caller() for _ in range(share.callers)))
    return spans


def raw(folder: Path, candidate_ids: list[int], requests: int) -> Figures:
    """The same requests on ONNX Runtime alone, one at a time."""
    bundle = Bundle.open(folder)
    graph = OnnxGraph(bundle.graph_file(ONNX))
    users = np.random.default_rng(0)
    inputs: dict[str, NDArray[Any]] = {
        "history_ids": np.zeros((1, 0), np.int64),
        "history_ratings": np.zeros((1, 0), np.float32),
        "profile": np.full((1, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": np.array([candidate_ids], np.int64),
    }
    spans = []
    for _ in range(WARM_UP + requests):
        user_id = users.integers(1, USERS, 1)
        began = time.monotonic()
        graph.run(inputs | {"user_id": user_id})
        spans.append((began, time.monotonic()))
    counted = np.array(spans[WARM_UP:])
    return Figures(counted[:, 1] - counted[:, 0], float(counted[-1, 1] - counted[0, 0]))


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--address", default="127.0.0.1:50051", help="HOST:PORT of the façade")
    parser.add_argument("--requests", type=int, default=2_000, help="how many to measure")
    parser.add_argument("--in-flight", type=int, default=1, help="callers at a time")
    parser.add_argument("--candidates", type=int, default=200, help="anime in each request")
    parser.add_argument("--bundle", type=Path, help="model_store/NAME/VERSION, for the floor")
    return parser.parse_args()


if __name__ == "__main__":
    main()
