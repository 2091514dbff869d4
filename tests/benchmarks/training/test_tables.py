import sys
from pathlib import Path

import pytest

from benchmarks.training import tables
from training.comparison.metrics import METRICS
from training.personal.comparison import compare
from training.personal.run import PersonalRun

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.mark.slow
def test_the_tables_of_the_page_are_those_of_a_run(
    personal: PersonalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not personal.evaluation_file.exists():
        compare(personal)
    page = tmp_path / "models.md"
    page.write_bytes(PAGE.read_bytes())
    monkeypatch.setattr(sys, "argv", ["tables", str(personal.folder), "--page", str(page)])
    tables.main()
    before, after = (each.read_text("utf-8") for each in (PAGE, page))
    assert after != before
    for metric in METRICS:
        if metric.name in tables.MAIN:
            assert metric.heading in after
    # Another run fills the same places, and what stands around them stays.
    assert after.count("<!--") == before.count("<!--")
    assert [line for line in after.splitlines() if line[:1] not in ("|", "")] == [
        line for line in before.splitlines() if line[:1] not in ("|", "")
    ]


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no <!-- seeds --> and <!-- /seeds -->"):
        tables.written("# Models\n", "seeds", iter(["| 1 |"]))
