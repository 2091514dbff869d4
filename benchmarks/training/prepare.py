"""CSV to training-ready tables at full size, beside the plain way with pandas.

    python -m benchmarks.training.prepare

Writes synthetic CSV files of the dump's size, then runs each side in a process of its own and
reports its wall time and peak resident memory. Ours ends with tables saved, loaded again, sampled,
split and encoded. The plain side reads the same files with pandas and merges them into one frame;
it takes a share of the ratings, since the whole frame does not fit beside the rest.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from training.seed.encoders import Encoders
from training.seed.sample import sample
from training.seed.settings import SEED
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare
from training.tables.tables import Tables

Figures = tuple[float, float, int]


def ours(folder: Path, ratings: int) -> int:
    """Read, save, load, sample, split and encode; the number of ratings."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        prepare(folder).save(Path(scratch) / "prepared")
        tables = Tables.load(Path(scratch) / "prepared")
    encoders = Encoders.fit(tables, SEED, sample(tables, SEED).train)
    for side in ("user", "anime"):
        encoders.side(tables, side)
    return len(tables.ratings)


def plain(folder: Path, ratings: int) -> int:
    """Read `ratings` rows and merge them with both side tables; the number of ratings."""
    scores = pd.read_csv(folder / "users-score-2023.csv", nrows=ratings)
    users = pd.read_csv(folder / "users-details-2023.csv")
    anime = pd.read_csv(folder / "anime-dataset-2023.csv")
    merged = scores.merge(users, left_on="user_id", right_on="Mal ID")
    return len(merged.merge(anime, on="anime_id"))


def measured(side: Callable[[Path, int], int], folder: Path, ratings: int) -> Figures:
    """Seconds, peak GB and number of ratings of one side, in a new process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_measure, args=(side, folder, ratings, there))
    process.start()
    there.close()
    figures: Figures = here.recv()
    process.join()
    return figures


def _measure(
    side: Callable[[Path, int], int], folder: Path, ratings: int, pipe: Connection
) -> None:
    began = time.perf_counter()
    count = side(folder, ratings)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    pipe.send((seconds, peak, count))


def main() -> None:
    """Generate, measure both sides, and print the ratio per rating."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=731_290)
    parser.add_argument("--anime", type=int, default=24_905)
    parser.add_argument("--ratings", type=int, default=24_325_191)
    parser.add_argument("--plain-ratings", type=int, default=3_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        began = time.perf_counter()
        synthesise(folder, options.users, options.anime, options.ratings)
        written = time.perf_counter() - began
        sides = {"anirank": measured(ours, folder, options.ratings)}
        sides["pandas, merged"] = measured(plain, folder, options.plain_ratings)
    table = Table(title=f"CSV to training-ready; CSV written in {written:.0f} s")
    for column in ("side", "ratings kept", "seconds", "peak GB", "million ratings/s", "ratio"):
        table.add_column(column, justify="left" if column == "side" else "right")
    base = sides["pandas, merged"][2] / sides["pandas, merged"][0]
    for name, (seconds, peak, count) in sides.items():
        speed = count / seconds
        numbers = (f"{count:,}", f"{seconds:.1f}", f"{peak:.2f}", f"{speed / 1e6:.2f}")
        table.add_row(name, *numbers, f"{speed / base:.1f}")
    Console(highlight=False, width=100).print(table)


if __name__ == "__main__":
    main()
