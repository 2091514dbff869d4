"""Training on a GPU; what a machine without one can check is checked with the CPU elsewhere."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.conftest import THREADS
from training.presets import PRESETS
from training.tables.tables import Tables

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

EPOCHS = 3


@pytest.mark.parametrize("name", PRESETS)
def test_a_gpu_learns_what_the_cpu_learns(name: str, tables: Tables, tmp_path: Path) -> None:
    preset = PRESETS[name]
    settings = preset.defaults.resolved(epochs=EPOCHS, batch_size=64)
    losses = {}
    for device in ("cpu", "cuda"):
        torch.set_num_threads(THREADS)
        run = preset.begin(tmp_path / device, settings, tables)
        assert preset.train(run, tables, torch.device(device), Console(quiet=True))
        assert preset.evaluate(run)  # on the CPU, whatever it was trained on
        losses[device] = run.metrics()[-1]["validation_loss"]
    # Other sums in another order, and another stream of random numbers for the dropout.
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_a_run_begun_on_a_gpu_is_resumed_there(name: str, tables: Tables, tmp_path: Path) -> None:
    preset = PRESETS[name]
    run = preset.begin(tmp_path / "run", preset.defaults.resolved(epochs=1, batch_size=64), tables)
    cuda = torch.device("cuda")
    assert preset.train(run, tables, cuda, Console(quiet=True))
    assert preset.train(run, tables, cuda, Console(quiet=True), resume=True)
