import re
from itertools import combinations, groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from training.comparison import charts
from training.comparison.charts import Point
from training.comparison.evaluator import Row
from training.comparison.labels import Labelled, write_labels

EPOCHS = [{"epoch": at, "train_rmse": 1.3 - at / 90, "validation_rmse": 1.2} for at in range(1, 25)]
# Of a run on real ratings: some points coincide, some nearly.
REAL = [
    ("wide and deep", 0.28369, 0.08279),
    ("and the rating", 0.28369, 0.08279),
    ("visitor, history only", 0.28267, 0.08440),
    ("wide alone", 0.28093, 0.09095),
    ("EASE", 0.26036, 0.04256),
    ("iALS", 0.24329, 0.03505),
    ("item-kNN", 0.23808, 0.03465),
    ("deep alone", 0.20467, 0.04441),
    ("visitor, nothing", 0.11962, 0.00169),
    ("popularity", 0.11949, 0.00169),
    ("damped mean", 0.04370, 0.00112),
    ("matrix factorisation", 0.02889, 0.00976),
    ("seed, on the rating", 0.00715, 0.00104),
    ("random order", 0.00107, 0.68561),
]
OWN = {"wide and deep", "and the rating", "visitor, history only", "wide alone"} | {
    "deep alone",
    "visitor, nothing",
}


def numbered(models: list[tuple[str, float, float]]) -> list[Point]:
    rows = [Row(name, {"ndcg": ndcg, "coverage": covered}) for name, ndcg, covered in models]
    return charts.points(rows, OWN, "and the rating")


def calibrated() -> charts.Chart:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(1, 10, 900_000)
    return charts.calibration(predicted, np.clip(np.round(predicted), 1, 10))


def labels(figure: Figure) -> list[Text]:
    return [each for each in figure.axes[0].texts if each.get_text()]


def markers(figure: Figure) -> list[Bbox]:
    """The box of each point as drawn, in pixels."""
    boxes = []
    for group in figure.axes[0].collections:
        assert isinstance(group, PathCollection)
        shape = group.get_paths()[0].get_extents()
        line = np.max(group.get_linewidth())
        half = (np.sqrt(group.get_sizes()[0]) * shape.x1 + line / 2) * figure.dpi / 72
        for middle in group.get_offset_transform().transform(group.get_offsets()):
            boxes.append(Bbox([middle - half, middle + half]))
    return boxes


def assert_labels_are_apart(figure: Figure) -> None:
    """No label on a point or another label, and none outside the axes."""
    boxes = [each.get_window_extent() for each in labels(figure)]
    axes = figure.axes[0].get_window_extent()
    for box, label in zip(boxes, labels(figure), strict=True):
        assert axes.x0 <= box.x0 <= box.x1 <= axes.x1, label
        assert axes.y0 <= box.y0 <= box.y1 <= axes.y1, label
        assert not box.count_overlaps(markers(figure)), label
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_labels_of_a_real_run_are_apart() -> None:
    assert_labels_are_apart(charts.coverage(numbered(REAL)).figure)


place = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(st.lists(place, min_size=1, max_size=17))
@settings(max_examples=15, deadline=None)
def test_labels_are_apart_wherever_the_points_lie(places: list[tuple[float, float]]) -> None:
    figure = Figure(figsize=charts.SIZE)
    axes = figure.add_axes((0.16, 0.16, 0.8, 0.7), xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
    axes.scatter(*zip(*places, strict=True), **charts.MARKERS["baseline"][1])
    write_labels(axes, [Labelled(*place, f"{number}") for number, place in enumerate(places, 1)])
    assert_labels_are_apart(figure)
    written = [number for each in labels(figure) for number in each.get_text().split(", ")]
    assert sorted(map(int, written)) == list(range(1, len(places) + 1))


def test_points_that_coincide_are_all_seen() -> None:
    """By the pixels: a point of the model's own in its middle, a baseline in its ring."""
    place = (0.2, 0.1)
    shown = numbered(
        [("and the rating", *place), ("wide alone", *place), ("EASE", *place), ("iALS", 0.1, 0.5)]
    )
    figure = charts.coverage(shown).figure
    figure.set_dpi(360)  # so that lines hold pixels of their colour alone
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, 0]  # from below; a stand-in is told by red
    x, y = (round(each) for each in figure.axes[0].transData.transform(place[::-1]))
    stand_ins = {3: "accent", 4: "ring", 5: "edge"}
    seen = [stand_ins[red] for red in pixels[y, x : x + 40].tolist() if red in stand_ins]
    # From the middle: the part, its edge, the served model's diamond, the baseline's ring.
    runs = [name for name, run in groupby(seen) if len(list(run)) > 1]  # one: between two colours
    assert runs == ["accent", "edge", "accent", "ring"]


@pytest.mark.parametrize(
    "chart",
    [charts.learning(EPOCHS), calibrated(), charts.coverage(numbered(REAL))],
    ids=["learning", "calibration", "coverage"],
)
def test_nothing_written_leaves_the_drawing_or_lies_on_the_curves(chart: charts.Chart) -> None:
    figure = chart.figure
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    tight = figure.get_tightbbox()
    assert tight.x0 >= 0
    assert tight.y0 >= 0
    assert tight.x1 <= width
    assert tight.y1 <= height
    [legend] = figure.legends
    assert not legend.get_window_extent().count_overlaps(
        [each.get_window_extent() for each in figure.axes]
    )


def test_models_are_numbered_from_the_best_and_those_without_lists_left_out() -> None:
    rows = [
        Row("global mean", {"rmse": 1.7}),
        Row("popularity", {"ndcg": 0.1, "coverage": 0.1}),
        Row("and the rating", {"ndcg": 0.3, "coverage": 0.2}),
        Row("wide alone", {"ndcg": 0.2, "coverage": 0.3}),
    ]
    assert charts.points(rows, OWN, "and the rating") == [
        Point(1, "and the rating", 0.3, 0.2, "served"),
        Point(2, "wide alone", 0.2, 0.3, "own"),
        Point(3, "popularity", 0.1, 0.1, "baseline"),
    ]


def test_a_description_tells_the_figures_of_a_chart() -> None:
    assert "training from 1.289 to 1.033, least 1.033 in epoch 24" in charts.learning(EPOCHS).alt
    assert "5.0 at 5.0" in calibrated().alt
    assert "5 EASE, 0.260 at 4.3%" in charts.coverage(numbered(REAL)).alt


def test_charts_take_their_colours_from_the_page() -> None:
    for chart in (charts.learning(EPOCHS), calibrated(), charts.coverage(numbered(REAL))):
        drawing = charts.svg(chart.figure, "name")
        assert drawing.startswith("<svg")
        assert "var(--ink)" in drawing
        assert not re.search(r"#(0[1-5]){3}", drawing)
        assert len(drawing) < 40_000  # bytes


def test_few_predictions_make_no_curve_of_chance() -> None:
    few = charts.calibration(np.array([7.0, 8.0]), np.array([6.0, 9.0]))
    assert "too few predictions" in few.alt
    assert np.shape(few.figure.axes[0].lines[1].get_xydata()) == (0, 2)
