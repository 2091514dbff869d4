import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from anirank.errors import DataError, RunError
from training.comparison.baselines import BASELINES, available
from training.comparison.conclusions import remarks
from training.comparison.evaluator import Row
from training.comparison.table import Comparison
from training.loop.progress import Progress, Stages
from training.personal.comparison import compare
from training.personal.run import PersonalRun
from training.personal.settings import PERSONAL
from training.personal.trainer import PersonalTrainer
from training.tables.tables import Tables


def held_out(run: PersonalRun, tables: Tables, rows: np.ndarray, file: Path) -> Path:
    pd.DataFrame(
        {
            "user_id": tables.users["user_id"].to_numpy()[tables.ratings.user_row[rows]],
            "anime_id": tables.anime["anime_id"].to_numpy()[tables.ratings.anime_row[rows]],
            "rating": tables.ratings.rating[rows],
        }
    ).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module", params=["ratings", "users", "anime"])
def cut(
    request: pytest.FixtureRequest, tables: Tables, tmp_path_factory: pytest.TempPathFactory
) -> PersonalRun:
    """A short run for each thing that can be held out."""
    settings = PERSONAL.resolved(epochs=1, batch_size=64, split_by=request.param)
    run = PersonalRun.create(tmp_path_factory.mktemp("cut") / "run", settings, tables)
    with Progress(Console(quiet=True), 1) as progress:
        assert PersonalTrainer(run, tables, torch.device("cpu")).fit(progress)
    return run


@pytest.mark.slow
def test_whatever_is_held_out_all_models_stand_in_one_table(
    cut: PersonalRun, tables: Tables, tmp_path: Path
) -> None:
    told: list[str] = []

    class Told(Stages):
        def begin(self, stage: str, steps: int = 0) -> None:
            told.append(stage)

    comparison = compare(cut, stages=Told(Console(quiet=True)))
    lines = {line.model: line for line in comparison.lines}
    assert list(lines)[: len(available())] == list(available())
    assert set(available()) < set(told)
    parts = cut.parts(tables)
    assert comparison.ratings == len(parts.test)
    assert comparison.listed == parts.listed("test", len(tables.anime)).sum()
    for name in ("and the rating", "visitor, history only", "visitor, nothing"):
        assert lines[name]["rmse"] is not None
    assert lines["random order"]["recall_50"] is not None
    by_ratings_alone = (
        lines["popularity"]["ndcg"],
        lines["EASE"]["ndcg"],
        lines["damped mean"]["ndcg"],
    )
    assert all((ndcg is None) == (cut.settings.split_by == "anime") for ndcg in by_ratings_alone)
    # What was kept is what was measured, and the same rows from a file are measured alike.
    kept = Comparison.load(cut.evaluation_file)
    assert kept is not None
    assert kept.to_json() == comparison.to_json()
    if cut.settings.split_by != "anime":
        file = held_out(cut, tables, parts.test, tmp_path / "outside.csv")
        from_file = {line.model: line for line in compare(cut, file).lines}
        assert from_file["and the rating"] == lines["and the rating"]
        assert from_file["user + item bias"] == lines["user + item bias"]


@pytest.mark.slow
def test_users_without_training_ratings_are_known_by_their_history_alone(
    tables: Tables, tmp_path: Path
) -> None:
    settings = PERSONAL.resolved(epochs=1, batch_size=64, split_by="users")
    run = PersonalRun.create(tmp_path / "run", settings, tables)
    with Progress(Console(quiet=True), 1) as progress:
        assert PersonalTrainer(run, tables, torch.device("cpu")).fit(progress)
    lines = {line.model: line for line in compare(run).lines}
    known, stranger = lines["and the rating"], lines["visitor, history only"]
    assert known["rmse"] is not None
    assert known["rmse"] == pytest.approx(
        stranger["rmse"], abs=0.05
    )  # but for what a profile tells


def test_ratings_from_a_file_that_are_known_already_are_left_out(
    personal: PersonalRun, tables: Tables, tmp_path: Path
) -> None:
    parts = personal.parts(tables)
    rows = np.concatenate([parts.train[:50], parts.test])
    kept = personal.evaluation_file.exists()
    comparison = compare(personal, held_out(personal, tables, rows, tmp_path / "mixed.csv"))
    assert comparison.rows == "mixed.csv (50 known ones left out)"
    assert comparison.ratings == len(parts.test)
    assert personal.evaluation_file.exists() == kept
    with pytest.raises(DataError, match=r"known\.csv: every one of its 50 ratings"):
        compare(personal, held_out(personal, tables, rows[:50], tmp_path / "known.csv"))


def test_a_kept_comparison_that_cannot_be_read_is_refused(
    personal: PersonalRun, tmp_path: Path
) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({"lines": [{"modle": "EASE"}]}))
    with pytest.raises(RunError, match="evaluate the run again"):
        Comparison.load(tmp_path / "evaluation.json")


def sentences(
    rows: list[Row], dump_aggregates: bool = False, missing: Sequence[str] = ()
) -> list[str]:
    return remarks(rows, split_by="ratings", dump_aggregates=dump_aggregates, missing=missing)


@pytest.mark.parametrize(("nothing", "verdict"), [(0.12, "at least"), (0.08, "less than")])
def test_it_says_in_words_whether_a_visitor_gets_popularitys_lists(
    nothing: float, verdict: str
) -> None:
    names = (*BASELINES, "and the rating", "visitor, history only")
    rows = [Row(name, {"rmse": 1.2, "ndcg": 0.1, "ndcg_liked": 0.1}) for name in names]
    said = sentences([*rows, Row("visitor, nothing", {"ndcg": nothing})])
    wanted = f"A visitor of whom nothing is known gets lists of NDCG {nothing:.3f}: {verdict}"
    assert any(each.startswith(wanted) for each in said)


def test_baselines_left_out_are_named_with_what_they_need() -> None:
    names = (*BASELINES, "and the rating", "visitor, history only", "visitor, nothing")
    said = sentences([Row(name) for name in names], missing=["item-kNN", "iALS"])
    assert any("item-kNN, iALS" in each and "anirank[baselines]" in each for each in said)


def test_a_run_that_learnt_from_the_dumps_aggregates_says_that_its_figures_flatter() -> None:
    names = (*BASELINES, "and the rating", "visitor, history only", "visitor, nothing")
    rows = [Row(name) for name in names]
    assert "figures flatter" in sentences(rows, dump_aggregates=True)[0]
    assert not any("--dump-aggregates" in each for each in sentences(rows))
