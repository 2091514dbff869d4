"""The curve of diversity: it begins at the served list, and ends where a ten is least alike."""

from itertools import combinations

import pytest

from training.comparison import charts
from training.comparison.conclusions import WHOLE
from training.comparison.diversity import SHARES
from training.comparison.evaluator import Row
from training.comparison.table import Comparison
from training.personal.comparison import compare
from training.personal.run import PersonalRun

OF_LISTS = ("ndcg", "ndcg_liked", "recall_10", "coverage", "novelty", "diversity")
MEASURED = [
    *((0.0, 0.3779, 0.053, 0.6785), (0.1, 0.3779, 0.0528, 0.6914), (0.2, 0.3763, 0.0525, 0.7071)),
    *((0.3, 0.3742, 0.0531, 0.7268), (0.4, 0.3689, 0.0537, 0.7496), (0.6, 0.3441, 0.0586, 0.8025)),
    *((0.8, 0.2905, 0.0641, 0.8366), (1.0, 0.2268, 0.0717, 0.8470)),
]


@pytest.fixture(scope="module")
def compared(personal: PersonalRun) -> Comparison:
    return Comparison.load(personal.evaluation_file) or compare(personal)


def test_without_diversity_the_tens_are_those_of_the_served_model(compared):
    [whole] = [row for row in compared.lines if row.model == WHOLE]
    for name in OF_LISTS:
        assert compared.diversified[0][name] == pytest.approx(whole[name], abs=1e-12), name


def test_the_most_diverse_tens_are_less_alike_and_meet_less(compared):
    first, *_, last = compared.diversified
    assert [row.model for row in compared.diversified] == [f"{share:g}" for share in SHARES]
    assert last["diversity"] > first["diversity"]
    assert last["ndcg"] < first["ndcg"]


def test_the_curve_is_kept_with_the_comparison(compared, tmp_path):
    (tmp_path / "evaluation.json").write_text(compared.to_json())
    assert Comparison.load(tmp_path / "evaluation.json") == compared


def test_the_chart_names_every_share_and_keeps_the_names_apart():
    rows = [
        Row(f"{share:g}", {"ndcg": ndcg, "coverage": covered, "diversity": apart})
        for share, ndcg, covered, apart in MEASURED
    ]
    chart = charts.diversity(rows)
    assert "0.4: 0.369 at likeness 0.250 and coverage 5.4%" in chart.alt
    for axes in chart.figure.axes:
        names = [text for text in axes.texts if text.get_text()]
        told = {name for text in names for name in text.get_text().split(", ")}
        assert told == {row.model for row in rows}
        boxes = [text.get_window_extent() for text in names]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
