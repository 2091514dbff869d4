from pathlib import Path

import pytest
import torch
from rich.console import Console

from bundles.graph import OUTPUTS
from export.parity import as_form, check, requests
from training.personal.preset import PersonalPreset
from training.personal.settings import PERSONAL
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare


@pytest.mark.slow
def test_ratings_without_any_users_details_make_a_model_that_can_be_served(tmp_path: Path) -> None:
    synthesise(tmp_path, users=60, anime=50, ratings=900, seed=1)
    (tmp_path / "users-details-2023.csv").unlink()
    tables, preset = prepare(tmp_path), PersonalPreset()
    run = preset.begin(tmp_path / "run", PERSONAL.resolved(epochs=1), tables)
    assert preset.train(run, tables, torch.device("cpu"), Console(quiet=True))
    served = preset.served(run, tables)
    assert len(served.users) == len(tables.users)
    assert (served.profiles == 0).all()  # gender alone, and that unknown
    form = as_form(served.ranker, tuple(OUTPUTS))
    batches = requests(tables, served.profiles, 0)
    check(served.exact, served.trained, {"folded": form}, batches, len(tables.anime))
