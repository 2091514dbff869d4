import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from jinja2 import Environment
from rich.console import Console

from training.comparison import charts
from training.comparison.evaluator import Row
from training.comparison.table import Comparison
from training.loop.progress import Progress
from training.personal.comparison import compare
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.trainer import PersonalTrainer
from training.tables.tables import Tables


class Page(HTMLParser):
    """Counts tags, and sees that each that opens is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.ids: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def compared(personal: PersonalRun) -> Comparison:
    return Comparison.load(personal.evaluation_file) or compare(personal)


@pytest.fixture(scope="module")
def page(
    personal: PersonalRun, compared: Comparison, tmp_path_factory: pytest.TempPathFactory
) -> str:
    file = tmp_path_factory.mktemp("report") / "page.html"
    assert PersonalPreset().report(personal, file) == file
    return file.read_text("utf-8")


def test_the_report_is_one_file_that_asks_for_no_other(page: str) -> None:
    assert not re.search(r'<(link|script|img|iframe)|url\((?!#)|@import|src="', page)
    assert not re.search(r'href="(?!#)', page)


def test_its_tags_are_whole_and_its_ids_its_own(page: str) -> None:
    read = Page(page)
    assert read.seen["svg"] == 3
    assert len(read.ids) == len(set(read.ids))


def test_it_holds_every_model_and_every_remark(page: str, compared: Comparison) -> None:
    escape = Environment(autoescape=True).from_string("{{ text }}").render
    for line in compared.lines:
        assert f">{escape(text=line.model)}<" in page
        if line["rmse"] is not None:
            assert f"{line['rmse']:.3f}" in page
    for remark in compared.remarks:
        assert escape(text=remark) in page


def test_people_are_told_why(page: str) -> None:
    assert page.count('<section class="card person">') == 4
    assert re.search(r"because you rated [^<]+ \d", page)
    assert "A visitor of whom nothing is known" in page


def test_a_title_cannot_write_into_the_page(
    personal: PersonalRun,
    compared: Comparison,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = personal.tables()
    tables.anime["name"] = "<script>alert(1)</script> & co"
    monkeypatch.setattr(PersonalRun, "tables", lambda run: tables)
    text = PersonalPreset().report(personal, tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text


def test_a_run_on_all_ratings_is_reported_with_the_figures_it_was_chosen_by(
    personal: PersonalRun, compared: Comparison, tables: Tables, tmp_path: Path
) -> None:
    run = PersonalPreset().refit(personal, tmp_path / "refit", tables)
    with Progress(Console(quiet=True), 3) as progress:
        assert PersonalTrainer(run, tables, torch.device("cpu")).fit(progress)
    text = PersonalPreset().report(run).read_text("utf-8")
    assert Page(text).seen["svg"] == 2  # nothing is held out to calibrate by
    assert all(f">{line.model}<" in text for line in compared.lines)


def test_charts_take_their_colours_from_the_page() -> None:
    rng = np.random.default_rng(0)
    drawings = [
        charts.learning([{"epoch": 1, "train_rmse": 1.3}, {"epoch": 2, "train_rmse": 1.2}]),
        charts.calibration(rng.uniform(1, 10, 500), rng.integers(1, 11, 500).astype(float)),
        charts.coverage([Row("one", {"ndcg": 0.2, "coverage": 0.1}), Row("two")], {"one"}),
    ]
    for drawing in drawings:
        assert drawing.startswith("<svg")
        assert "var(--ink)" in drawing
        assert not re.search(r"#(0[1-4]){3}", drawing)
