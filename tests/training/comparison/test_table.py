import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from anirank.errors import DataError, RunError
from training.comparison.baselines import BASELINES, ON_A_SAMPLE, available
from training.comparison.conclusions import remarks
from training.comparison.evaluator import Row
from training.comparison.metrics import METRICS
from training.comparison.table import Comparison
from training.loop.progress import Progress, Stages
from training.personal.comparison import compare
from training.personal.mix import Mix
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
    rows: list[Row],
    dump_aggregates: bool = False,
    missing: Sequence[str] = (),
    asked: tuple[int, int] = (40, 40),
) -> list[str]:
    return remarks(
        rows,
        split_by="ratings",
        dump_aggregates=dump_aggregates,
        missing=missing,
        asked=asked,
        raters=270_033,
    )


def rows(model: dict[str, float], baselines: dict[str, float]) -> list[Row]:
    """A comparison in which every baseline, and every row of the model's own, is equal."""
    own = ("and the rating", "visitor, history only", "visitor, nothing")
    return [
        *(Row(name, dict(baselines)) for name in BASELINES),
        *(Row(name, dict(model)) for name in own),
    ]


@pytest.mark.parametrize(
    ("ndcg", "popular", "said"),
    [
        (0.12, 0.1, "0.120: more than popularity's 0.100"),
        (0.08, 0.1, "0.080: less than popularity's 0.100"),
        (0.15498, 0.15502, "0.155: the same as popularity's 0.155"),
    ],
)
def test_a_remark_never_says_less_of_two_figures_that_it_shows_as_equal(
    ndcg: float, popular: float, said: str
) -> None:
    said_of = sentences(rows({"ndcg": ndcg}, {"ndcg": popular}))
    assert f"A visitor of whom nothing is known gets lists of NDCG {said}." in said_of


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1.1, 1.2004, "1.100: 0.100 less than the bias model's"),
        (1.1, 1.0, "1.100: 0.100 more than the bias model's"),
        (1.0996, 1.1004, "1.100: the same as the bias model's"),
        (1.1004, 1.1006, "1.100: 0.001 less than the bias model's"),  # as the table has them
    ],
)
def test_what_a_rating_errs_by_is_told_apart_by_the_digits_that_are_shown(
    ours: float, theirs: float, said: str
) -> None:
    said_of = sentences(rows({"rmse": ours}, {"rmse": theirs}))
    assert any(each.startswith(f"The rating errs by {said}, ") for each in said_of)


@pytest.mark.parametrize(
    ("ours", "said"), [(0.21, "+5.0%"), (0.19, "-5.0%"), (0.19995, "no difference")]
)
def test_a_gain_that_would_be_shown_as_nothing_is_said_to_be_none(ours: float, said: str) -> None:
    both = {"ndcg": ours, "ndcg_liked": ours}
    said_of = sentences(rows(both, {"ndcg": 0.2, "ndcg_liked": 0.2}))
    assert f"NDCG beside EASE's: {said}; where a rating of 8 or more counts, {said}." in said_of


def test_a_visitor_who_gets_nearly_all_is_not_said_to_get_all() -> None:
    both = rows({"ndcg": 0.284}, {"ndcg": 0.2})
    both[-2] = Row("visitor, history only", {"ndcg": 0.283})
    assert any("brings a history gets 99.6% of" in each for each in sentences(both))


def printed(comparison: Comparison, columns: int) -> list[str]:
    console = Console(width=columns, file=StringIO(), highlight=False)
    console.print(comparison)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_every_figure_can_be_read_on_a_terminal_of(columns: int) -> None:
    models = [*BASELINES, "wide without genres", "and the rating", "visitor, history only"]
    lines = [
        Row(model, {m.name: 1_111 + row if m.digits == 0 else 0.111 + row / 100 for m in METRICS})
        for row, model in enumerate(models)
    ]
    remark = "A remark that is longer than a line, so that it has to go on in the next one of them."
    comparison = Comparison(
        run="run",
        rows="test rows",
        ratings=14_760,
        users=1_602,
        split_by="ratings",
        listed=1_000,
        groups={},
        lines=lines,
        remarks=[remark],
    )
    shown = printed(comparison, columns)
    assert max(map(len, shown)) <= columns
    assert "…" not in "".join(shown)
    second = next(at for at, line in enumerate(shown) if line.startswith("What the tens are like"))
    for accuracy, part in ((True, shown[:second]), (False, shown[second:])):
        metrics = [m for m in METRICS if m.short is not None and m.accuracy == accuracy]
        for model, line in zip(models, lines, strict=True):
            figures = [f"{line[m.name]:,.{m.digits}f}" for m in metrics]
            [at] = [n for n, text in enumerate(part) if text.split()[-len(figures) :] == figures]
            width = part[at].index(figures[0])
            name = f"{part[at][:width]} {part[at + 1][:width]}".split()
            assert name[: len(model.split())] == model.split()
        assert all(str(metric.short) in " ".join(part) for metric in metrics)
    assert remark in " ".join(" ".join(shown).split())


def test_a_model_that_makes_no_list_has_no_row_of_what_lists_are_like() -> None:
    lines = [Row("item bias", {"rmse": 1.5}), Row("EASE", {"ndcg": 0.2, "coverage": 0.1})]
    comparison = Comparison("run", "test rows", 9, 3, "ratings", 10, {}, lines, [])
    assert " ".join(printed(comparison, 80)).count("item bias") == 1


def test_a_model_fitted_on_a_sample_of_the_raters_is_named_with_its_size() -> None:
    both = rows({}, {})
    both[3] = Row("matrix factorisation", raters=30_000)
    [said] = [each for each in sentences(both) if each.startswith("Fitted on")]
    assert "Fitted on 30,000 of the 270,033 raters alone" in said
    assert "too long: matrix factorisation. That" in said
    assert not any(each.startswith("Fitted on") for each in sentences(rows({}, {})))


def test_where_not_all_users_were_asked_about_it_is_said() -> None:
    said = "5,000 of the 270,033 users with ratings held out were asked about"
    assert any(each.startswith(said) for each in sentences(rows({}, {}), asked=(5_000, 270_033)))
    assert not any("were asked about" in each for each in sentences(rows({}, {})))


def test_a_weight_of_nothing_makes_no_two_rows_of_one_model(
    personal: PersonalRun, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What takes the longest to fit says nothing here.
    cheap = {name: fit for name, fit in BASELINES.items() if name not in ON_A_SAMPLE[1:]}
    monkeypatch.setattr("training.comparison.table.available", lambda: cheap)
    chosen = Mix.load(personal.mix_file)
    lines, said = {}, {}
    try:
        for beta in (0.0, 0.01):
            replace(chosen, beta=beta).save(personal.mix_file)
            file = held_out(
                personal, tables, personal.parts(tables).test, personal.folder / "t.csv"
            )
            comparison = compare(personal, file)
            lines[beta] = [line.model for line in comparison.lines]
            said[beta] = any("β came out as 0" in each for each in comparison.remarks)
    finally:
        chosen.save(personal.mix_file)
    assert lines[0.01].count("wide and deep") == 1
    assert [each for each in lines[0.01] if each != "wide and deep"] == lines[0.0]
    assert said == {0.0: True, 0.01: False}


def test_baselines_left_out_are_named_with_what_they_need() -> None:
    names = (*BASELINES, "and the rating", "visitor, history only", "visitor, nothing")
    said = sentences([Row(name) for name in names], missing=["item-kNN", "iALS"])
    assert any("item-kNN, iALS" in each and "anirank[baselines]" in each for each in said)


def test_a_run_that_learnt_from_the_dumps_aggregates_says_that_its_figures_flatter() -> None:
    names = (*BASELINES, "and the rating", "visitor, history only", "visitor, nothing")
    rows = [Row(name) for name in names]
    assert "figures flatter" in sentences(rows, dump_aggregates=True)[0]
    assert not any("--dump-aggregates" in each for each in sentences(rows))
