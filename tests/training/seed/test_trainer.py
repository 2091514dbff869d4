import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from anirank.errors import RunError
from training.loop.progress import Progress
from training.seed.encoders import Encoders
from training.seed.evaluation import evaluate
from training.seed.preset import SeedPreset
from training.seed.run import SeedRun
from training.seed.settings import SEED, SeedSettings
from training.seed.trainer import SeedTrainer, mean_squared_error
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # each test trains, or starts programs

Train = Callable[[Tables, SeedSettings, Path], SeedRun]


class CtrlC(Progress):
    """Presses Ctrl-C after some batches."""

    def __init__(self, epochs: int, after: int) -> None:
        super().__init__(Console(quiet=True), epochs)
        self._left = after

    def advance(self, samples: int, loss: float) -> None:
        super().advance(samples, loss)
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)


def test_every_epoch_is_a_line_and_the_loss_falls(
    run: SeedRun, seed_settings: SeedSettings
) -> None:
    lines = run.metrics()
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["train_loss"] < lines[0]["train_loss"]
    for line in lines:
        assert line["train_rmse"] == pytest.approx(line["train_loss"] ** 0.5)
        assert line["validation_rmse"] == pytest.approx(line["validation_loss"] ** 0.5)
        assert line["samples_per_s"] > 0


def test_the_best_epoch_is_kept(trained: Train, tables: Tables, tmp_path: Path) -> None:
    # Few ratings and a high rate: the model is soon at learning the noise by heart.
    settings = SEED.resolved(label="rating", epochs=8, batch_size=64, learning_rate=0.02)
    run = trained(tables, settings, tmp_path / "run")
    losses = [line["validation_loss"] for line in run.metrics()]
    assert losses.index(min(losses)) < len(losses) - 1
    assert evaluate(run).validation_loss == min(losses)
    trainer = SeedTrainer(run, tables, torch.device("cpu"))
    trainer.model.load_state_dict(load_file(run.weights_file))
    again = mean_squared_error(trainer.model, trainer.batches, trainer.parts.validation)
    assert again == pytest.approx(min(losses), rel=1e-6)


def test_a_seed_reproduces_a_run_bit_for_bit(
    trained: Train, run: SeedRun, tables: Tables, seed_settings: SeedSettings, tmp_path: Path
) -> None:
    again = trained(tables, seed_settings, tmp_path / "again")
    assert again.weights_file.read_bytes() == run.weights_file.read_bytes()


@pytest.mark.parametrize("after", [1, 40, 60])
def test_a_run_stopped_and_resumed_ends_with_the_same_weights(
    run: SeedRun, tables: Tables, seed_settings: SeedSettings, tmp_path: Path, after: int
) -> None:
    stopped = SeedRun.create(tmp_path / "run", seed_settings, tables)
    with CtrlC(2, after) as progress:
        assert not SeedTrainer(stopped, tables, torch.device("cpu")).fit(progress)
    # What was left can be used as it is,
    assert stopped.model(stopped.encoders()) is not None
    assert evaluate(stopped).against["Score"].rmse > 0
    # and goes on to the very weights of the run that was left alone.
    trainer = SeedTrainer(SeedPreset().open(stopped.folder), tables, torch.device("cpu"))
    trainer.resume()
    with Progress(Console(quiet=True), 2) as progress:
        assert trainer.fit(progress)
    assert stopped.weights_file.read_bytes() == run.weights_file.read_bytes()
    for mine, other in zip(stopped.metrics(), run.metrics(), strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-12)
        assert mine["validation_loss"] == other["validation_loss"]


def test_a_run_killed_before_it_kept_any_state_begins_again(
    tables: Tables, seed_settings: SeedSettings, tmp_path: Path
) -> None:
    killed = SeedRun.create(tmp_path / "run", seed_settings, tables)
    trainer = SeedTrainer(killed, tables, torch.device("cpu"))
    trainer.resume()
    assert (trainer.epoch, trainer.batch) == (0, 0)


def test_other_data_is_not_taken_for_the_runs_own(run: SeedRun, tmp_path: Path) -> None:
    synthesise(tmp_path, users=100, anime=100, ratings=1_000, seed=8)
    with pytest.raises(RunError, match="other data"):
        SeedTrainer(run, prepare(tmp_path), torch.device("cpu"))


def test_a_used_folder_is_not_written_over(
    run: SeedRun, tables: Tables, seed_settings: SeedSettings
) -> None:
    before = run.weights_file.read_bytes()
    with pytest.raises(RunError, match="--resume"):
        SeedRun.create(run.folder, seed_settings, tables)
    assert run.weights_file.read_bytes() == before


def test_weights_of_another_network_are_refused(run: SeedRun, tmp_path: Path) -> None:
    encoders: Encoders = run.encoders()
    config = json.loads((run.folder / "config.json").read_text())
    config["preset"]["hidden"] = [128, 64, 16]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "weights.safetensors").write_bytes(run.weights_file.read_bytes())
    with pytest.raises(RunError, match=r"weights\.safetensors: does not fit"):
        SeedPreset().open(tmp_path).model(encoders)


def test_the_unknown_row_is_the_mean_of_the_rows_trained_on(run: SeedRun, tables: Tables) -> None:
    encoders = run.encoders()
    model = run.model(encoders)
    rows = SeedTrainer(run, tables, torch.device("cpu")).parts.train
    users = tables.users["user_id"].to_numpy()[tables.ratings.user_row[rows]]
    codes = encoders.vocabularies["user_id"].encode(pd.Series(users))
    expected = model.wide.weight.detach().numpy()[codes].mean(axis=0)
    np.testing.assert_allclose(model.wide.weight.detach().numpy()[0], expected, atol=1e-5)
