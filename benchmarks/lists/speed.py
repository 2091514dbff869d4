"""How many users a second get their lists: in one process, and by the workers of Ray.

    python -m benchmarks.lists.speed model_store/anime/1

Makes the lists of all users that the bundle knows, each round once in one process and once by Ray,
in turns. Users a second are those of the middle half of the blocks, when every worker has its
engine and has work; what it takes to start stands beside them. The ratio is taken within a round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import figures, machine
from bundles.bundle import Bundle
from handlers.lists.cluster import Cluster
from handlers.lists.job import Job, Source
from handlers.lists.lister import Lister


@dataclass(frozen=True, slots=True)
class Run:
    """One job: users_s: users a second in its middle half; first_s: until the first block."""

    users_s: float
    first_s: float
    whole_s: float
    bytes_a_user: float


def timed(job: Job, made: Iterable[int], began: float) -> Run:
    """Make a job's blocks, begun at a time of `perf_counter`."""
    ended, users = [], []
    for count in made:
        ended.append(time.perf_counter() - began)
        users.append(count)
    first, last = len(ended) // 4, 3 * len(ended) // 4
    size = sum(job.file(block).stat().st_size for block in range(job.blocks))
    return Run(
        sum(users[first + 1 : last + 1]) / (ended[last] - ended[first]),
        ended[0],
        ended[-1],
        size / len(job.users),
    )


def main() -> None:
    """Measure both sides in turns, print them, and write all figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--top", type=int, default=100)
    parser.add_argument("--block", type=int, default=50)
    parser.add_argument("--output", type=Path, default=figures.FOLDER)
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    users = bundle.histories.user_id
    sides: dict[str, list[Run]] = {"one process": [], f"Ray, {options.workers} workers": []}
    alone, shared = sides.values()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Cluster(workers=options.workers) as cluster:
        started_s = time.perf_counter() - began
        for number in range(2 * options.rounds):
            job = Job(
                Path(folder) / str(number), Source.of(bundle), users, options.top, options.block
            )
            job.begin()
            began = time.perf_counter()
            # Ours, theirs, theirs, ours: what drifts falls on both.
            if number % 4 in (0, 3):
                alone.append(timed(job, Lister(job, bundle).make_all(job.missing()), began))
            else:
                shared.append(timed(job, cluster.make_all(job, options.bundle), began))
    ratios = [there.users_s / here.users_s for here, there in zip(alone, shared, strict=True)]
    table = Table(title=f"lists of {options.top} for {len(users):,} users")
    for heading in ("", "users/s", "first block s", "whole job s", "bytes a user"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, runs in sides.items():
        spread = [getattr(run, field) for field in Run.__slots__ for run in runs]
        columns = [spread[at : at + len(runs)] for at in range(0, len(spread), len(runs))]
        table.add_row(name, *map(_told, columns))
    console = Console(highlight=False, width=100)
    console.print(table, f"Ray started in {started_s:.1f} s; ratio {_told(ratios)}", sep="\n")
    figures.write_json(
        options.output / "lists.json",
        {
            "machine": machine.describe(),
            "settings": {"users": len(users), "top": options.top, "block": options.block},
            "engine": "compiled" if bundle.tables is not None else "onnxruntime",
            "ray_started_s": started_s,
            "sides": {name: [asdict(run) for run in runs] for name, runs in sides.items()},
            "ratios": ratios,
        },
    )


def _told(values: list[float]) -> str:
    """The median, with the least and the most."""
    places = 2 if statistics.median(values) < 10 else 0
    told = [f"{v:,.{places}f}" for v in (statistics.median(values), min(values), max(values))]
    return f"{told[0]} [{told[1]}..{told[2]}]"


if __name__ == "__main__":
    main()
