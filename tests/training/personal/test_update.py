import csv
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from anirank.errors import RunError
from bundles.files import sha256
from training.interactions.interactions import Interactions
from training.loop.progress import Progress
from training.personal.mix import Mix
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.trainer import PersonalTrainer
from training.presets import open_run, preset_of
from training.run import load_tensors
from training.seed.run import SeedRun
from training.tables.growth import Growth, grown
from training.tables.preparation import ANIME_FILE
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # each test needs a run

CPU, QUIET, PRESET = torch.device("cpu"), Console(quiet=True), PersonalPreset()
NEW_USER, NEW_ANIME = 66_000_001, 2


@pytest.fixture(scope="module")
def growth(
    synthetic: Path, personal: PersonalRun, tmp_path_factory: pytest.TempPathFactory
) -> Growth:
    """A new user rates nine anime that many have rated, and one that is new."""
    folder, tables = tmp_path_factory.mktemp("new"), personal.tables()
    with (synthetic / ANIME_FILE).open(encoding="utf-8", newline="") as opened:
        names, first, *_ = csv.reader(opened)
    with (folder / ANIME_FILE).open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([names, [str(NEW_ANIME), *first[1:]]])
    rated = np.bincount(tables.ratings.anime_row, minlength=len(tables.anime))
    ids = tables.anime["anime_id"].to_numpy()[np.argsort(-rated)[:9]]
    lines = [f"{NEW_USER},{anime},{7 + anime % 3}" for anime in (*ids, NEW_ANIME)]
    file = folder / "new.csv"
    file.write_text("\n".join(["user_id,anime_id,rating", *lines]), "utf-8")
    return grown(tables, file, folder / ANIME_FILE)


@pytest.fixture(scope="module")
def updated(
    personal: PersonalRun, growth: Growth, tmp_path_factory: pytest.TempPathFactory
) -> PersonalRun:
    """An update of a run that holds ratings out."""
    before = {file: sha256(file) for file in personal.folder.rglob("*") if file.is_file()}
    run = PRESET.update(personal, tmp_path_factory.mktemp("updated") / "run", growth)
    assert PRESET.train(run, growth.tables, CPU, QUIET)
    assert {file: sha256(file) for file in personal.folder.rglob("*") if file.is_file()} == before
    return run


def test_what_was_held_out_still_is_and_is_predicted_as_well(
    personal: PersonalRun, updated: PersonalRun, growth: Growth
) -> None:
    before, after = personal.parts(growth.before), updated.parts(growth.tables)
    old = len(growth.before.ratings)
    np.testing.assert_array_equal(after.test[after.test < old], before.test)
    assert 0 < (after.train >= old).sum() < len(growth.new)
    errors = []
    for run, parts in ((personal, before), (updated, after)):
        tables = run.tables()
        model, held = PersonalModel.load(run, tables), tables.ratings.at(before.test)
        known = Interactions.of(tables.ratings, parts.known, model.expectation, len(tables.users))
        predicted = model.ratings(known, held.user_row.astype(np.int64), held.anime_row)
        errors.append(float(np.sqrt(np.mean((predicted - held.rating) ** 2))))
    assert errors[1] < 1.02 * errors[0]


def test_it_is_short_and_keeps_what_its_weights_are_of(
    personal: PersonalRun, updated: PersonalRun
) -> None:
    assert len(updated.metrics()) < len(personal.metrics())
    for file in ("content.json", "traits.json"):
        assert (updated.folder / file).read_bytes() == (personal.folder / file).read_bytes()


def test_how_the_parts_add_up_is_chosen_anew(
    personal: PersonalRun, updated: PersonalRun, growth: Growth, tmp_path: Path
) -> None:
    before = PRESET.open(shutil.copytree(personal.folder, tmp_path / "before"))
    Mix(taste=0.2, deep=0.3, beta=0.03).save(before.mix_file)
    run = PRESET.update(before, tmp_path / "run", growth)
    assert run.mix_file.read_bytes() == before.mix_file.read_bytes()
    assert PRESET.train(run, growth.tables, CPU, QUIET)
    assert run.mix_file.read_bytes() == updated.mix_file.read_bytes()


def test_it_begins_with_the_weights_there_were_and_a_new_anime_as_unknown(
    personal: PersonalRun, updated: PersonalRun, growth: Growth
) -> None:
    then, now = (load_tensors(f, CPU)[0] for f in (personal.weights_file, updated.start_file))
    assert growth.tables.anime["anime_id"].tolist()[:3] == [1, NEW_ANIME, 5]
    rows = growth.before.ratings.anime_row[personal.parts(growth.before).train]
    assert {0, 1} <= set(rows.tolist())
    for name, table in now.items():
        if "_id." in name:
            assert len(table) == len(then[name]) + 1
            assert torch.equal(table[:4], then[name][[0, 1, 0, 2]])
        else:
            assert torch.equal(table, then[name])
    trainer = PersonalTrainer(updated, growth.tables, CPU)
    assert torch.equal(trainer.network.anime_id.weight, now["anime_id.weight"])


def test_an_update_that_was_stopped_ends_as_if_it_never_had_been(
    personal: PersonalRun, updated: PersonalRun, growth: Growth, tmp_path: Path
) -> None:
    class CtrlC(Progress):
        def advance(self, samples: int, loss: float) -> None:
            signal.raise_signal(signal.SIGINT)

    stopped = PRESET.update(personal, tmp_path / "run", growth)
    with CtrlC(QUIET, 3) as progress:
        assert not PRESET.trainer(stopped, growth.tables, CPU).fit(progress)
    again = PRESET.open(stopped.folder)
    with pytest.raises(RunError, match="has not ended yet"):
        PRESET.update(again, tmp_path / "next", growth)
    assert PRESET.train(again, again.tables(), CPU, QUIET, resume=True)
    for file in ("weights.safetensors", "mix.json"):
        assert (again.folder / file).read_bytes() == (updated.folder / file).read_bytes()


def test_a_run_of_all_ratings_takes_in_all_and_has_the_figures_it_had(
    personal: PersonalRun, tables: Tables, growth: Growth, tmp_path: Path
) -> None:
    chosen = PRESET.open(shutil.copytree(personal.folder, tmp_path / "chosen"))
    chosen.evaluation_file.write_text('{"lines": []}', "utf-8")
    whole = PRESET.refit(chosen, tmp_path / "refit", tables)
    assert PRESET.train(whole, tables, CPU, QUIET)
    run = PRESET.update(whole, tmp_path / "run", growth)
    assert PRESET.train(run, growth.tables, CPU, QUIET)
    assert run.mix_file.read_bytes() == chosen.mix_file.read_bytes()
    every = np.arange(len(growth.tables.ratings))
    np.testing.assert_array_equal(run.parts(growth.tables).train, every)
    kept, made = (each.evaluation_file.read_bytes() for each in (whole, run))
    assert kept == made
    new = int(np.searchsorted(growth.tables.users["user_id"], NEW_USER))
    assert PersonalModel.load(run, growth.tables).users[new]
    assert run.updated_from() == {
        "data_fingerprint": tables.fingerprint,
        "updates": 1,
        "ratings": 10,
        "replaced": 0,
        "users": 1,
        "anime": 1,
    }


def test_an_update_can_be_updated_and_counts_how_often(
    updated: PersonalRun, growth: Growth, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="is the short pass of an update"):
        PRESET.refit(updated, tmp_path / "refit", growth.tables)
    anime = int(growth.tables.anime["anime_id"][0])
    file = tmp_path / "newer.csv"
    file.write_text(f"user_id,anime_id,rating\n{NEW_USER + 1},{anime},8\n", "utf-8")
    again = PRESET.update(updated, tmp_path / "run", grown(updated.tables(), file))
    made_from = again.updated_from()
    assert made_from is not None
    assert (made_from["updates"], made_from["users"]) == (2, 1)
    assert again.settings == updated.settings
    before, after = (run.parts(run.tables()) for run in (updated, again))
    np.testing.assert_array_equal(before.test, after.test)


def test_a_preset_that_cannot_be_updated_says_so(
    run: SeedRun, growth: Growth, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="of which none is updated"):
        preset_of(open_run(run.folder)).update(run, tmp_path / "run", growth)
    assert not (tmp_path / "run").exists()
