import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.anirank.program import anirank
from training.presets import named
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # each test trains, or starts programs

EPOCHS = 6


@pytest.mark.parametrize("preset", ["seed", "personal"])
def test_ctrl_c_leaves_a_run_that_can_be_used_and_that_resume_ends_as_if_never_stopped(
    preset: str, synthetic: Path, tables: Tables, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    given = ("--preset", preset, "--epochs", str(EPOCHS), "--batch-size", "32", "--device", "cpu")
    command = [sys.executable, "-m", "anirank", "train", str(synthetic), str(stopped), *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        deadline = time.monotonic() + 60
        while not (stopped / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        training.send_signal(signal.SIGINT)
        printed, _ = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "--resume" in printed
    assert len((stopped / "metrics.jsonl").read_text().splitlines()) < EPOCHS

    file = tmp_path / "figures.json"
    evaluated = anirank("evaluate", stopped, "--json", file)
    assert evaluated.returncode == 0
    last = "predicting what was held out" if preset == "seed" else "visitors"
    # What is on its way is told beside what has been asked for.
    assert re.search(rf"^{last}: \d+\.\d s$", evaluated.stderr, re.MULTILINE)
    assert f"{last}: " not in evaluated.stdout
    figures = json.loads(file.read_text())
    whole = figures["against"]["Score"] if preset == "seed" else figures["lines"][-1]
    assert whole["rmse"] > 0

    of = named(preset)
    settings = of.defaults.resolved(epochs=EPOCHS, batch_size=32)
    run = of.begin(tmp_path / "whole", settings, tables)
    assert of.train(run, tables, torch.device("cpu"), Console(quiet=True))
    assert anirank("train", synthetic, stopped, "--resume").returncode == 0
    weights = "weights.safetensors"
    assert (stopped / weights).read_bytes() == (run.folder / weights).read_bytes()
