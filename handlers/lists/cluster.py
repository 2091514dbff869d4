"""Lists made by the workers of Ray: an actor a core, each with an engine of its own."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from anirank.errors import AnirankError, ListsError
from handlers.lists.job import Job
from handlers.lists.lister import Lister

OBJECTS_BYTES = 128 * 1024 * 1024  # of Ray's memory; the numbers of blocks are all that goes there
# Blocks that an actor has at most: one to make, and one so that it need not wait for the next.
IN_FLIGHT = 2
KNOCK_S = 10.0  # for a cluster to take a connection


class Worker:
    """An actor: opens and verifies the bundle once, and makes blocks. Faults are its answers.

    Raised, they would come back as Ray's, with tracebacks of both.
    """

    def __init__(self, folder: Path, bundle: Path, trust: Sequence[Path]) -> None:
        self._given = folder, bundle, trust

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Make the blocks of a batch; of how many users they are, or what was wrong."""
        try:
            made, fault = sum(map(self._lister.make, batch["block"].tolist())), ""
        except AnirankError as error:
            made, fault = 0, str(error)
        return {"users": np.array([made]), "fault": np.array([fault], np.object_)}

    @cached_property
    def _lister(self) -> Lister:
        return Lister.open(*self._given)


class Cluster:
    """Ray, started here or joined, while it is entered.

    with Cluster() as cluster:
        for users in cluster.make_all(job, bundle.folder):
            print(users)
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """Of the cluster at `address`, None: one of this machine alone, started for this.

        workers: actors, None: one a core.
        """
        self._address, self._workers = address, workers
        # Of a task that ends with its actor Ray tells there; standard output has results alone.
        self._redirected = redirect_stdout(sys.stderr)

    def __enter__(self) -> "Cluster":
        """Start or join; raises ListsError where there is no cluster."""
        # Read when Ray starts. Nothing is told to its makers; what its C++ says of an actor that
        # was killed is no news here: it is started again.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
        try:
            if self._address is None:
                ray.init(
                    address="local",  # and not one that happens to run here
                    num_cpus=self._workers,
                    include_dashboard=False,
                    object_store_memory=OBJECTS_BYTES,
                    **quiet,
                )
            else:
                _knock(self._address)
                ray.init(address=self._address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            where = self._address or "this machine"
            raise ListsError(f"{where}: Ray cannot be reached ({error})") from error
        self._redirected.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        self._redirected.__exit__(None, None, None)

    def make_all(self, job: Job, bundle: Path, trust: Sequence[Path] = ()) -> Iterator[int]:
        """Make what is missing; after each block, of how many users it is.

        A worker that is killed is started again, and makes its block anew. bundle, trust: as in
        `Bundle.open`, on every machine. Raises ListsError with the first fault of a worker.
        """
        missing = job.missing()
        cores = int(ray.cluster_resources().get("CPU", 1))
        actors = min(self._workers or cores, cores, len(missing))
        _quiet()
        given = [{"block": block} for block in missing]
        made = ray.data.from_items(given, override_num_blocks=len(given)).map_batches(
            Worker,
            batch_size=1,
            num_cpus=1,
            fn_constructor_args=(
                job.folder.resolve(),
                bundle.resolve(),
                [key.resolve() for key in trust],
            ),
            compute=ray.data.ActorPoolStrategy(
                size=actors, max_tasks_in_flight_per_actor=IN_FLIGHT
            ),
        )
        for row in made.iter_rows():
            if row["fault"]:
                raise ListsError(row["fault"])
            yield int(row["users"])


def _knock(address: str) -> None:
    """Raise OSError where nothing answers at HOST:PORT; Ray would try for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _quiet() -> None:
    """Keep Ray Data's own progress off the terminal; faults stay."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
