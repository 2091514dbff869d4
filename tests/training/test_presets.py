import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from anirank.errors import PresetError, RunError
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.presets import DEFAULT, PRESETS, named, open_run, preset_of
from training.seed.preset import SeedPreset
from training.seed.run import SeedRun
from training.tables.tables import Tables


def test_presets_are_found_by_the_name_in_their_settings() -> None:
    assert all(preset.defaults.name == name for name, preset in PRESETS.items())
    assert isinstance(named(DEFAULT), PersonalPreset)
    with pytest.raises(PresetError, match="'sead' is not known; there is personal, seed"):
        named("sead")


def test_a_run_is_opened_as_what_it_is(run: SeedRun, personal: PersonalRun) -> None:
    for made, preset in ((run, SeedPreset), (personal, PersonalPreset)):
        opened = open_run(made.folder)
        assert opened == made
        assert isinstance(preset_of(opened), preset)
    with pytest.raises(RunError, match="is a run of the preset seed, not of personal"):
        PersonalPreset().open(run.folder)


def test_a_folder_without_a_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.json is missing"):
        open_run(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"preset": {"name": "seed"}}))
    with pytest.raises(RunError, match=r"config\.json: cannot be read: 'fingerprint'"):
        open_run(tmp_path)


def test_what_a_preset_does_not_know_it_says_by_name(
    run: SeedRun, tables: Tables, tmp_path: Path
) -> None:
    seed = SeedPreset()
    with pytest.raises(RunError, match="preset seed, of which none is trained on all ratings"):
        seed.refit(run, tmp_path / "refit", tables)
    with pytest.raises(RunError, match="preset seed, of which none is compared with baselines"):
        seed.compare(run)
    with pytest.raises(RunError, match="preset seed, of which none has a report"):
        seed.report(run)


@pytest.mark.slow
def test_every_preset_trains_measures_and_is_served(tables: Tables, tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        settings = preset.defaults.resolved(epochs=1)
        run = preset.begin(tmp_path / name, settings, tables)
        assert preset.train(run, tables, torch.device("cpu"), Console(quiet=True))
        assert run.curves_file.stat().st_size > 5_000
        assert json.loads(preset.evaluate(run).to_json())
        served = preset.served(run, tables)
        assert served.profile[0].name == "gender"
        assert served.profiles.shape == (len(tables.users), len(served.profile))
