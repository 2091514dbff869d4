import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from anirank.errors import RunError
from training.interactions.expectation import Expectation
from training.interactions.interactions import Interactions
from training.loop.progress import Progress
from training.personal.comparison import compare
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.settings import PersonalSettings
from training.personal.trainer import PersonalTrainer
from training.splits import split_by_user
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # each test trains, or starts programs

CPU = torch.device("cpu")


def test_it_learns_and_is_compared_with_what_one_would_try_before(personal: PersonalRun) -> None:
    losses = [line["validation_loss"] for line in personal.metrics()]  # of the same rows each time
    assert losses[-1] < losses[0]
    lines = {line.model: line for line in compare(personal).lines}
    whole = lines["and the rating"]
    assert whole.values["rmse"] < lines["global mean"].values["rmse"]
    assert 0 < whole.intervals["ndcg"][0] <= whole.values["ndcg"] <= whole.intervals["ndcg"][1] < 1
    assert whole.values["coverage"] > lines["popularity"].values["coverage"]
    assert whole.values["overlap"] < lines["popularity"].values["overlap"]
    kept = json.loads(personal.evaluation_file.read_text())
    assert [line["model"] for line in kept["lines"]] == list(lines)


def test_a_seed_reproduces_a_run_and_a_stopped_one_ends_alike(
    personal: PersonalRun, tables: Tables, personal_settings: PersonalSettings, tmp_path: Path
) -> None:
    class CtrlC(Progress):
        def report(self, line: dict[str, object]) -> None:
            if line["epoch"] == 1:
                signal.raise_signal(signal.SIGINT)

    stopped = PersonalRun.create(tmp_path / "run", personal_settings, tables)
    with CtrlC(Console(quiet=True), 3) as stopping:
        assert not PersonalTrainer(stopped, tables, CPU).fit(stopping)
    assert PersonalModel.load(stopped, tables).mix.deep == 0  # can be used as it is
    with pytest.raises(RunError, match="has not ended yet"):
        PersonalPreset().refit(stopped, tmp_path / "refit", tables)
    again = PersonalPreset().open(stopped.folder)
    trainer = PersonalTrainer(again, tables, CPU)
    trainer.resume()
    with Progress(Console(quiet=True), 3) as progress:
        assert trainer.fit(progress)
    for file in ("weights.safetensors", "crosses.safetensors", "mix.json"):
        assert (again.folder / file).read_bytes() == (personal.folder / file).read_bytes()


def test_a_refit_trains_on_all_ratings_with_what_was_chosen(
    personal: PersonalRun, tables: Tables, tmp_path: Path
) -> None:
    compare(personal)
    run = PersonalPreset().refit(personal, tmp_path / "refit", tables)
    trainer = PersonalTrainer(run, tables, CPU)
    assert trainer.wide.interactions.watched.nnz == len(tables.ratings)
    with Progress(Console(quiet=True), 3) as progress:
        assert trainer.fit(progress)
    for file in ("mix.json", "evaluation.json"):
        assert (run.folder / file).read_bytes() == (personal.folder / file).read_bytes()
    assert "validation_loss" not in run.metrics()[-1]
    assert len(run.metrics()) == len(personal.metrics())
    rated = tables.ratings.at(np.arange(500))
    known = trainer.wide.interactions
    user = rated.user_row.astype(np.int64)
    mean = np.mean(tables.ratings.rating)
    predicted = PersonalModel.load(run, tables).ratings(known, user, rated.anime_row)
    assert np.mean((predicted - rated.rating) ** 2) < np.mean((mean - rated.rating) ** 2)
    with pytest.raises(RunError, match="holds no ratings out"):
        compare(run)


def test_a_target_never_stands_in_the_history_it_is_asked_from(tables: Tables) -> None:
    rows = np.arange(len(tables.ratings))
    expectation = Expectation.fit(tables.ratings, rows, len(tables.anime))
    whole = Interactions.of(tables.ratings, rows, expectation, len(tables.users))
    kept = np.random.default_rng(0).random(whole.watched.nnz) < 0.6
    rest, user, anime = whole.parted(kept)
    watched = rest.watched.toarray()
    assert not watched[user, anime].any()
    watched[user, anime] = 1
    np.testing.assert_array_equal(watched, whole.watched.toarray())
    assert (rest.residual.toarray() != 0).sum() <= rest.watched.nnz


def test_every_user_is_split_alike_and_no_rating_is_in_two_parts(tables: Tables) -> None:
    parts = split_by_user(tables, (0.7, 0.15, 0.15), 0)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(tables.ratings)))
    counts = np.bincount(tables.ratings.user_row)
    train = np.bincount(tables.ratings.user_row[parts.train], minlength=len(counts))
    assert np.all(np.abs(train - 0.7 * counts) <= 1)
    assert np.array_equal(split_by_user(tables, (0.7, 0.15, 0.15), 0).test, parts.test)


def test_a_run_whose_files_do_not_fit_is_refused(personal: PersonalRun, tables: Tables) -> None:
    with pytest.raises(RunError, match="does not fit together"):
        PersonalModel.load(
            PersonalRun(
                personal.folder,
                personal.settings.model_copy(update={"embedding_dim": 8}),
                personal.fingerprint,
            ),
            tables,
        )
