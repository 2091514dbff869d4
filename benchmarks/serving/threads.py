"""Where the time of a loaded façade goes: core time a call, by thread, beside the gRPC echo.

    python -m benchmarks.serving.threads --store model_store

The first thread of a façade runs the event loop: gRPC's part in Python, messages, the queue. Of the
others the busiest computes batches; the rest are gRPC's own. The engine's time with nothing around
it stands beside them.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.load.clients import Clients
from benchmarks.load.loops import Plan
from benchmarks.load.requests import query
from benchmarks.load.workload import Lines, Workload
from benchmarks.systems.environments import default_cache
from benchmarks.systems.systems import SYSTEMS, System, World
from bundles.bundle import Bundle
from handlers.engine.loading import engine_of

ROW = "{:<26}{:>11}{:>13}{:>13}{:>10}{:>10}"
BATCH = 20  # queries of 200 candidates that the façade computes at a time


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--name", default="anime")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    bundle = Bundle.latest(options.store, options.name)
    workload = Workload(Lines.read("200"), Lines.read("100"))
    asks = workload.asks(bundle.histories.user_id, bundle.catalogue.anime_id)
    world = World(bundle, asks, default_cache())
    print(ROW.format("core ms a call", "in flight", "event loop", "batches", "others", "calls/s"))
    for system in SYSTEMS:
        if system.key in ("echo", "facade"):
            for in_flight in (1, 32):
                _measure(system, world, Plan(options.seconds, in_flight=in_flight))
    for size in (1, BATCH):
        print(f"engine alone, {size} a batch: {_alone_ms(world, size):.2f} core ms a query")


def _measure(system: System, world: World, plan: Plan) -> None:
    with system.start(world) as running:
        pool = [running.form.write(ask) for ask in world.asks]
        with Clients(running.caller, pool) as clients:
            clients.run(Plan(2.0, in_flight=8))
            [process] = running.pids
            before = _spent_s(process)
            outcome = clients.run(plan)
            spent = _spent_s(process)
    calls = max(outcome.all_calls, 1)
    by_thread = {thread: (s - before.get(thread, 0.0)) / calls * 1e3 for thread, s in spent.items()}
    loop = by_thread.pop(process)
    busiest = max(by_thread.values(), default=0.0)
    others = sum(by_thread.values()) - busiest
    figures = (f"{loop:.2f}", f"{busiest:.2f}", f"{others:.2f}", f"{outcome.rate:,.0f}")
    print(ROW.format(system.name, plan.in_flight, *figures), flush=True)


def _spent_s(process: int) -> Mapping[int, float]:
    """Seconds of a core by thread; the first thread has the process's own number."""
    threads = psutil.Process(process).threads()
    return {thread.id: thread.user_time + thread.system_time for thread in threads}


def _alone_ms(world: World, size: int) -> float:
    alone = engine_of(world.bundle)
    queries = [query(ask) for ask in world.asks[: size * 40]]
    batches = [queries[at : at + size] for at in range(0, len(queries), size)]
    for batch in batches[:5]:
        alone.rank(batch)
    began = time.process_time()
    for batch in batches:
        alone.rank(batch)
    return (time.process_time() - began) / len(queries) * 1e3


if __name__ == "__main__":
    main()
