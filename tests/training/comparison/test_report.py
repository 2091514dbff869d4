import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from jinja2 import Environment
from rich.console import Console

from training.comparison.table import Comparison
from training.loop.progress import Progress
from training.personal.comparison import compare
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.trainer import PersonalTrainer
from training.tables.tables import Source, Tables


class Page(HTMLParser):
    """Counts tags, and sees that each that opens is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.ids: list[str] = []
        self.headings: list[dict[str, str | None]] = []
        self.drawings: list[dict[str, str | None]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag == "th":
            self.headings.append(dict(attrs))
        if dict(attrs).get("role") == "img":
            self.drawings.append(dict(attrs))
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
    assert read.seen["svg"] == 4
    assert len(read.ids) == len(set(read.ids))
    assert len(page) < 200_000


def test_its_charts_and_tables_can_be_heard(page: str) -> None:
    read = Page(page)
    assert '<html lang="en">' in page
    assert len(read.drawings) == read.seen["svg"]
    assert all('aria-hidden="true"' in drawing for drawing in re.findall(r"<svg [^>]*>", page))
    for drawing in read.drawings:
        assert re.match(r"(Line|Scatter|Two line) chart.*\d\.\d", str(drawing["aria-label"]))
    assert all(
        heading["scope"] in ("col", "row", "colgroup", "rowgroup") for heading in read.headings
    )


def test_it_says_which_model_it_is_of_on_which_data(
    page: str, personal: PersonalRun, tables: Tables, synthetic: Path
) -> None:
    data = f"{synthetic.name}, synthetic data"
    assert f"<title>personal on {data} · anirank report</title>" in page
    assert f"<h1><span>personal</span> on {data}</h1>" in page
    assert f"{len(tables.ratings):,} ratings, {len(tables.users):,} users" in page
    assert f"fingerprint {tables.fingerprint[:12]}<" in page


def test_it_says_when_and_how_the_model_was_trained(page: str, personal: PersonalRun) -> None:
    begun = personal.begun()
    assert begun is not None
    assert abs(datetime.now(UTC) - begun) < timedelta(hours=1)
    [trained, written] = re.findall(r'<time datetime="(.+?)">(.+?)</time>', page)
    assert trained == (begun.isoformat(), f"{begun.day} {begun:%B %Y}")
    assert datetime.fromisoformat(written[0]) >= begun
    assert "70% to train, 15% to validate, 15% to test" in page
    assert "seed 0, of split, weights and order" in page
    assert "3 epochs" in page
    assert "<dt>optimisation.batch_size</dt><dd>64</dd>" in page
    assert "<dt>hidden</dt><dd>128, 64</dd>" in page


def test_it_says_why_the_training_error_may_lie_above_the_validation_error(page: str) -> None:
    assert "The training error may well lie above the validation error" in page
    assert "5% to 50% of each user&#39;s history is hidden" in page
    assert "profiles of users are hidden 30% of the time" in page


def test_only_synthetic_data_are_called_so(
    page: str, personal: PersonalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<b>The data are synthetic.</b>" in page
    tables = replace(personal.tables(), source=Source("mal"))
    monkeypatch.setattr(PersonalRun, "tables", lambda run: tables)
    text = PersonalPreset().report(personal, tmp_path / "page.html").read_text("utf-8")
    assert "<title>personal on mal · anirank report</title>" in text
    assert "synthetic" not in text


def test_a_run_of_before_its_date_and_data_were_kept_has_a_report(
    personal: PersonalRun, compared: Comparison, tables: Tables, tmp_path: Path
) -> None:
    old = shutil.copytree(personal.folder, tmp_path / "old")
    for file, name in ((old / "config.json", "begun"), (old / "tables" / "tables.json", "source")):
        kept = json.loads(file.read_text("utf-8"))
        del kept[name]
        file.write_text(json.dumps(kept), "utf-8")
    text = PersonalPreset().report(PersonalPreset().open(old)).read_text("utf-8")
    assert f"<title>personal on {len(tables.ratings):,} ratings · anirank report</title>" in text
    assert "trained on <time" not in text
    assert "name not kept" in text


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
    assert Page(text).seen["svg"] == 3  # nothing is held out to calibrate by
    assert all(f">{line.model}<" in text for line in compared.lines)
    assert "Nothing is held out: trained on all ratings." in text
    assert f"by the run {compared.run}, whose settings and mix this run took over" in text
    assert "above the validation error" not in text
