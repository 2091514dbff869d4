"""What a GPU is worth: batches of requests through the served graph, on the CPU and on CUDA.

    python -m benchmarks.serving.device model_store/anime/1

Both run in turn, round after round, on the same batches: every form that this installation can put
on the device, with as many threads as the machine has cores on the CPU. Medians of all rounds, the
ratio between them, and whether the answers are the same: order exactly, scores to a unit in the
last place of float32.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from anirank.errors import DeviceUnavailable
from benchmarks import machine
from bundles.bundle import Bundle
from bundles.files import write_json
from bundles.graph import Inputs
from handlers.engine.graph import Graph
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.torchscript_graph import TorchScriptGraph

BATCHES = (1, 16, 64, 256)
UNTIMED = 3
SECONDS = 0.5  # of each form, batch and round

FORMS: dict[str, Callable[..., Graph]] = {
    "TorchScript": TorchScriptGraph,
    "ONNX Runtime": OnnxGraph,
}


@dataclass(frozen=True)
class Measured:
    """One form with batches of one size: milliseconds a batch, and whether both agree."""

    form: str
    batch: int
    cpu_ms: float
    gpu_ms: float
    same_order: bool
    largest_difference: float

    @property
    def ratio(self) -> float:
        """How many times as many requests a second the GPU answers."""
        return self.cpu_ms / self.gpu_ms


def inputs(bundle: Bundle, batch: int, candidates: int, history: int) -> Inputs:
    """A batch of visitors who have each watched other anime and are asked about others."""
    rng = np.random.default_rng(batch)
    ids = bundle.catalogue.anime_id
    return {
        "user_id": np.zeros(batch, np.int64),
        "history_ids": rng.choice(ids, (batch, history)),
        "history_ratings": rng.integers(1, 11, (batch, history)).astype(np.float32),
        "profile": np.full((batch, len(bundle.manifest.profile)), np.nan, np.float32),
        "candidate_ids": rng.choice(ids, (batch, candidates)),
    }


def milliseconds(call: Callable[[], object]) -> list[float]:
    """Milliseconds of each call, for as long as `SECONDS`."""
    for _ in range(UNTIMED):
        call()
    spent: list[float] = []
    while sum(spent) < SECONDS * 1e3:
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1e3)
    return spent


def measure(form: str, graphs: tuple[Graph, Graph], asked: Inputs, rounds: int) -> Measured:
    """The CPU's graph and the GPU's, in turn."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for graph, times in zip(graphs, spent, strict=True):
            times += milliseconds(partial(graph.run, asked))
    cpu, gpu = (graph.run(asked)["affinity"] for graph in graphs)
    order = [np.argsort(-each, axis=1, kind="stable") for each in (cpu, gpu)]
    return Measured(
        form,
        len(asked["user_id"]),
        statistics.median(spent[0]),
        statistics.median(spent[1]),
        bool(np.array_equal(order[0], order[1])),
        float(np.max(np.abs(cpu - gpu) / np.spacing(np.abs(cpu)))),
    )


def table(found: list[Measured], title: str) -> Table:
    """As it is shown."""
    shown = Table(title=title, title_justify="left")
    headings = ("form", "batch", "CPU ms", "GPU ms", "GPU requests/s", "times the CPU", "same")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("form", "same") else "right")
    for each in found:
        same = "order" if each.same_order else "ORDER DIFFERS"
        shown.add_row(
            each.form,
            str(each.batch),
            f"{each.cpu_ms:.2f}",
            f"{each.gpu_ms:.2f}",
            f"{each.batch / each.gpu_ms * 1e3:,.0f}",
            f"{each.ratio:.2f}",
            f"{same}, {each.largest_difference:.0f} units",
        )
    return shown


def main() -> None:
    """Measure what can be put on the device, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--history", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    console, bundle = Console(), Bundle.open(options.bundle)
    found: list[Measured] = []
    left_out: dict[str, str] = {}
    for form, graph_of in FORMS.items():
        try:
            graphs = graph_of(bundle, "cpu", os.cpu_count()), graph_of(bundle, options.device)
        except (DeviceUnavailable, ImportError) as error:
            left_out[form] = str(error)
            continue
        for batch in BATCHES:
            asked = inputs(bundle, batch, options.candidates, options.history)
            found.append(measure(form, graphs, asked, options.rounds))
    title = f"{options.candidates} candidates, history {options.history}, {options.device}"
    console.print(table(found, title))
    for form, reason in left_out.items():
        console.print(f"{form}: left out, {reason}")
    if options.json is not None:
        document: dict[str, Any] = {
            "machine": machine.describe() | {"gpu": torch.cuda.get_device_name()},
            "asked": {"candidates": options.candidates, "history": options.history},
            "measured": [asdict(each) for each in found],
            "left_out": left_out,
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
