import copy
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from rich.console import Console

from training.interactions.expectation import ANIME_DAMPING, Expectation
from training.interactions.interactions import Interactions, Ties
from training.loop.progress import SILENT, Progress, Stages
from training.personal import settings
from training.personal.run import PersonalRun
from training.personal.settings import PersonalSettings
from training.personal.trainer import PersonalTrainer
from training.personal.wide import fit
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # each test needs a run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trainer(
    personal_settings: PersonalSettings, tables: Tables, tmp_path_factory: pytest.TempPathFactory
) -> PersonalTrainer:
    folder = tmp_path_factory.mktemp("trainer") / "run"
    of = personal_settings.model_copy(update={"epoch_steps": 2})
    made = PersonalTrainer(PersonalRun.create(folder, of, tables), tables, CPU)
    with Progress(Console(quiet=True), 3) as progress:
        assert made.fit(progress)
    return made


def test_users_who_never_rated_take_part_in_no_step_and_have_no_place_in_the_network(
    trainer: PersonalTrainer, tables: Tables
) -> None:
    rated = np.unique(tables.ratings.user_row[trainer.parts.train])
    assert len(rated) < len(tables.users)
    np.testing.assert_array_equal(trainer.raters, rated)
    sizes = {size for tensor in trainer.network.state_dict().values() for size in tensor.shape}
    users = {len(tables.users), len(rated)}
    assert not sizes & (users | {count + 1 for count in users})


def test_an_epoch_of_few_steps_is_gone_on_with_by_the_next(
    trainer: PersonalTrainer,
) -> None:
    assert len(trainer.run.metrics()) == trainer.epoch == 3
    assert (trainer.steps, len(trainer.rates)) == (2, 6)
    again, seen = copy.copy(trainer), []
    for again.epoch in range(2):
        batches = again._batches()
        assert [len(batch) for batch in batches] == [64, 64]
        seen += batches
    assert len(np.unique(np.concatenate(seen))) == 256


def test_a_rating_has_no_part_in_what_it_is_foretold_from(
    trainer: PersonalTrainer, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    class TakenError(Exception):
        pass

    def parallel(*given: Any) -> None:
        taken.append(given)
        raise TakenError

    monkeypatch.setattr(trainer, "parallel", parallel)
    users = trainer.raters[:8]
    with pytest.raises(TakenError):
        trainer._step(users, 0, np.random.default_rng(0))
    [(_, _, _, row, column, expected)] = taken
    anime = np.flatnonzero(trainer.wide.fitted.trained_anime)[column.numpy()]
    train, mean = trainer.parts.train, trainer.wide.fitted.expectation.mean
    seen = tables.ratings.at(train)
    for place in range(0, len(anime), 9):
        user, at = users[row[place]], anime[place]
        own = (seen.user_row == user) & (seen.anime_row == at)
        others = train[(seen.anime_row == at) & ~own]
        assert own.sum() == 1
        above = (tables.ratings.rating[others] - mean).sum() / (len(others) + ANIME_DAMPING)
        assert float(expected[place]) == pytest.approx(mean + above, abs=1e-5)


def test_tables_of_ids_are_drawn_to_zero_by_less_where_more_users_rate(
    trainer: PersonalTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decay() -> float:
        return float(trainer._groups()[0]["weight_decay"])

    assert decay() == trainer.settings.weight_decay > 0
    monkeypatch.setattr(settings, "RATERS", len(trainer.raters) / 4)
    assert decay() == trainer.settings.weight_decay / 2


def test_content_as_a_sparse_matrix_says_what_it_says_as_a_dense_one(
    trainer: PersonalTrainer,
) -> None:
    anime = trainer.trained.anime
    assert anime.content.layout == torch.sparse_csr
    users = trainer.raters[:5]
    history = trainer.trained.interactions.at(users).history(trainer.trained.ties, CPU)
    network = trainer.network.eval()
    profiles = trainer.model.profiles[users]
    answers = []
    for content in (anime.content, anime.content.to_dense()):
        network.zero_grad()
        encoded = network.encode(history, profiles, anime._replace(content=content))
        logits = network.logits(encoded)
        logits.exp().sum().backward()
        gradient = network.anime_content.weight.grad
        assert gradient is not None
        answers.append((logits.detach(), gradient.clone()))
    for sparse, dense in zip(*answers, strict=True):
        torch.testing.assert_close(sparse, dense)


def test_what_a_run_has_fitted_is_fitted_again_only_for_other_settings(
    trainer: PersonalTrainer, tables: Tables, tmp_path: Path
) -> None:
    run = PersonalRun.create(tmp_path / "run", trainer.settings, tables)
    shutil.copyfile(trainer.run.crosses_file, run.crosses_file)
    # A file is written anew beside the old one.
    written = run.crosses_file.stat().st_ino

    def begun(of: PersonalRun) -> str:
        file = io.StringIO()
        with Stages(Console(file=file, width=80)) as stages:
            again = PersonalTrainer(of, tables, CPU, stages)
        kept = again.wide.fitted
        np.testing.assert_array_equal(kept.trained_anime, trainer.wide.fitted.trained_anime)
        return file.getvalue()

    assert "fitting" not in begun(run)
    assert run.crosses_file.stat().st_ino == written
    longer = run.settings.resolved(epochs=9)  # decides nothing of what is fitted
    assert "fitting" not in begun(PersonalRun(run.folder, longer, run.fingerprint))
    other = run.settings.model_copy(update={"cross_l2": 50.0})
    assert "fitting the crosses" in begun(PersonalRun(run.folder, other, run.fingerprint))
    assert run.crosses_file.stat().st_ino != written


def test_the_genres_are_fitted_to_a_sample_of_who_has_rated(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(len(tables.ratings))
    expectation = Expectation.fit(tables.ratings, rows, len(tables.anime))
    whole = Interactions.of(tables.ratings, rows, expectation, len(tables.users))
    none = sp.csr_array(np.zeros((len(tables.anime), len(tables.anime)), dtype=np.float32))
    monkeypatch.setattr(fit, "GENRE_USERS", 50)
    asked = [history.length for history, _ in fit._left_over(whole, Ties(none, none), 0, SILENT)]
    lengths = torch.cat(asked)
    assert len(lengths) == 50
    assert lengths.sum() > 0


def test_a_run_of_short_epochs_that_was_stopped_ends_as_one_that_was_not(
    trainer: PersonalTrainer, tables: Tables, tmp_path: Path
) -> None:
    run = PersonalRun.create(tmp_path / "run", trainer.settings, tables)

    class StoppedError(Exception):
        pass

    class Stopping(Progress):
        def report(self, line: dict[str, object]) -> None:
            if line["epoch"] == 2:
                raise StoppedError

    with pytest.raises(StoppedError), Stopping(Console(quiet=True), 3) as stopping:
        PersonalTrainer(run, tables, CPU).fit(stopping)
    again = PersonalTrainer(run, tables, CPU)
    again.resume()
    assert again.epoch == 2
    with Progress(Console(quiet=True), 3) as progress:
        assert again.fit(progress)
    weights = "weights.safetensors"
    assert (run.folder / weights).read_bytes() == (trainer.run.folder / weights).read_bytes()
