"""What small callers wait while one host sends hundreds of the largest valid requests at once.

    python -m benchmarks.chaos.flood --store model_store --name anime

A façade, a caller who asks for 200 candidates again and again, and beside it `largest` of the
attacks. It prints the caller's latencies without and during that, and what memory was added.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from anirank.client.sync import Client
from anirank.errors import Overloaded
from benchmarks.systems.processes import ROOT, end_on_sigterm, program
from benchmarks.systems.systems import facade_address, facade_command
from bundles.bundle import Bundle

QUIET_S, PAUSE_S = 5.0, 0.005
FLOODS = 5


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    options = parser.parse_args()
    end_on_sigterm()
    bundle = Bundle.latest(options.store, options.name)
    with (
        program(facade_command(bundle)) as facade,
        Client(facade_address(facade), retries=0) as client,
    ):
        ids = bundle.catalogue.anime_id[:200].tolist()
        until = time.monotonic() + QUIET_S
        _say("without", _latencies(client, ids, lambda: time.monotonic() < until))
        process = psutil.Process(facade.pid)
        before = most = process.memory_info().rss
        attack = [sys.executable, "-m", "benchmarks.chaos.attacks", "largest"]
        during: list[float] = []
        for _ in range(FLOODS):
            with subprocess.Popen([*attack, facade_address(facade), "0"], cwd=ROOT) as flood:

                def floods(flood: "subprocess.Popen[bytes]" = flood) -> bool:
                    nonlocal most
                    most = max(most, process.memory_info().rss)
                    return flood.poll() is None

                during += _latencies(client, ids, floods)
        _say("during", during)
        print(f"memory: {(most - before) / 2**20:,.0f} MiB more at most")


def _latencies(client: Client, ids: list[int], lasts: Callable[[], bool]) -> list[float]:
    """Seconds of each call, one after another, while it lasts."""
    found: list[float] = []
    while lasts():
        began = time.monotonic()
        try:
            client.rank(ids, top_k=10)
        except Overloaded:
            found.append(float("inf"))
        else:
            found.append(time.monotonic() - began)
        time.sleep(PAUSE_S)
    return found


def _say(when: str, seconds: list[float]) -> None:
    ms = 1e3 * np.array(seconds)
    answered = ms[np.isfinite(ms)]
    median, p99 = np.percentile(answered, (50, 99))
    print(
        f"{when}: {len(ms)} calls, {len(ms) - len(answered)} refused; "
        f"p50 {median:.1f} ms, p99 {p99:.1f} ms, at most {answered.max():.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
