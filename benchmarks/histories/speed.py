"""What a read of a live history costs, and a write with its commit on disk, alone and among many.

    python -m benchmarks.histories.speed FOLDER            # LMDB, in a new folder in FOLDER
    python -m benchmarks.histories.speed redis://HOST:PORT # its data are removed first: a spare one

Every user has as many anime recorded as `--items` says. A read is all that a request does for it:
of many rounds the fastest one's mean, since whatever else the machine does only adds. Writes are
timed one by one, each with its fsync, beside a file of 4 KiB that is written and synced as often.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from handlers.engine.query import Query
from handlers.histories.histories import Histories, Watched
from handlers.histories.opening import open_store

READS, ROUNDS = 50, 1_000  # few at a time: a round then fits between what else runs
MIB = 1_024
AT_ONCE = 200  # users who are filled in together


def watched(user: int, first: int, count: int) -> Watched:
    """So many anime of a user, rated 8, under no request id."""
    ids = np.arange(first, first + count, dtype=np.int64)
    return Watched(user, ids, np.full(count, 8, np.float32))


async def read_us(histories: Histories, users: int) -> float:
    """Microseconds of a read: the mean of the fastest round."""
    asked = [Query(user_id=1 + number % users) for number in range(READS)]
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for query in asked:
            await histories.counted(query)
        rounds.append((time.perf_counter() - began) / READS * 1e6)
    return min(rounds)


async def writes_ms(
    histories: Histories, writers: int, each: int, users: int, first: int
) -> tuple[list[float], float]:
    """Milliseconds of each write, and the seconds of all, of so many writers at once."""
    times: list[float] = []

    async def write(writer: int) -> None:
        for number in range(each):
            user = 1 + (writer * each + number) % users
            began = time.perf_counter()
            await histories.record(watched(user, first + number, 1))
            times.append((time.perf_counter() - began) * 1e3)

    began = time.perf_counter()
    await asyncio.gather(*map(write, range(writers)))
    return times, time.perf_counter() - began


def synced_ms(folder: Path, count: int) -> float:
    """The median of milliseconds that a write of 4 KiB and its fdatasync take."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(b"\0" * 4_096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


async def measure(place: str, options: argparse.Namespace) -> Table:
    """All of it, as a table."""
    histories = Histories(open_store(place, MIB), most=100_000)
    await histories.check()
    for user in range(1, options.users + 1, AT_ONCE):
        some = range(user, min(user + AT_ONCE, options.users + 1))
        await asyncio.gather(*(histories.record(watched(each, 1, options.items)) for each in some))
    table = Table(title=f"{options.users:,} users of {options.items} anime each", min_width=60)
    for heading in ("", "median", "99th percentile", "a second"):
        table.add_column(heading, justify="right")
    table.add_row("read", f"{await read_us(histories, options.users):.1f} µs", "", "")
    for round_, writers in enumerate((1, options.writers), start=1):
        each = max(options.writes // writers, 1)
        first = options.items + 10_000 * round_
        times, seconds = await writes_ms(histories, writers, each, options.users, first)
        last = float(np.percentile(times, 99))
        table.add_row(
            f"write, {writers} at once",
            *(f"{statistics.median(times):.2f} ms", f"{last:.2f} ms"),
            f"{len(times) / seconds:,.0f}",
        )
    await histories.close()
    return table


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("place", help="a folder, or the URL of a Redis")
    parser.add_argument("--users", type=int, default=900)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--writes", type=int, default=960)
    options = parser.parse_args()
    console = Console(highlight=False)
    if "://" in options.place:
        console.print(asyncio.run(measure(options.place, options)))
    else:
        with tempfile.TemporaryDirectory(dir=options.place) as folder:
            console.print(asyncio.run(measure(f"{folder}/histories", options)))
            synced = synced_ms(Path(folder), options.writes)
            console.print(f"a file of 4 KiB written and synced: {synced:.2f} ms at the median")
    of = machine.describe()
    console.print(
        f"{of['cores']} cores of {of['cpu']}, load before: {of['load_average_before']:.1f}"
    )


if __name__ == "__main__":
    main()
