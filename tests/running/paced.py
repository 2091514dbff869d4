"""A façade in a process of its own, whose batches take as long as a test says."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.running.program import line_of

# A façade over ONNX Runtime whose batches take as long as the test says.
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from handlers.facade.server import serve
from handlers.facade.backends.embedded import EmbeddedBackend
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Limits
from handlers.facade.versions.roster import Roster, ServedVersion

class Slow:
    def __init__(self, graph, seconds):
        self.graph, self.seconds = graph, seconds
        self.name, self.cells = graph.name, graph.cells
    def run(self, inputs):
        time.sleep(self.seconds)
        return self.graph.run(inputs)

folder, address, seconds, queued = sys.argv[1:]
bundle = Bundle.open(Path(folder))
graph = Slow(OnnxGraph(bundle), float(seconds))
limits = Limits(candidates=100, history=20, queued=int(queued))
backend = EmbeddedBackend(Engine(bundle, GraphScorer(bundle, graph), limits))
started = lambda port: print(port, flush=True)
roster = Roster(ServedVersion(bundle, backend, limits))
asyncio.run(serve(roster, address, limits=limits, started=started))
"""


@contextmanager
def running(folder: Path, seconds: float = 0.0, queued: int = 256):
    """A façade in a process of its own: the process and its address."""
    command = [sys.executable, "-c", PROGRAM, str(folder), "127.0.0.1:0", str(seconds), str(queued)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"127.0.0.1:{line_of(process).strip()}"
        finally:
            process.terminate()
