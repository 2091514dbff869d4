"""Where the number of a point stands in a chart: on no point, on no other number, in the axes.

Libraries that push labels apart promise neither that, nor the same place each time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

# Points (1/72 inch).
MARKER = 6.5  # half the side of a marker with its air
SAME = 4.0  # places as near as this share a label
NEAREST, FARTHEST, STEP = 9.0, 150.0, 3.0  # of a label's middle from its place
FAR = 17.0  # from here on a line leads from the label to its place
DIRECTIONS = np.radians([0, 45, -45, 90, -90, 135, -135, 180])


class Labelled(NamedTuple):
    """A place in the units of the axes, and what is written beside it."""

    x: float
    y: float
    label: str


def write_labels(axes: Axes, places: Sequence[Labelled]) -> None:
    """Write the labels into axes whose limits and layout are final; one for places that coincide.

    A label that finds no room stands on its place.
    """
    pixels = axes.figure.dpi / 72
    middles = [axes.transData.transform((place.x, place.y)) for place in places]
    taken = [_box(middle, MARKER * pixels, MARKER * pixels) for middle in middles]
    for members in _together(middles, SAME * pixels):
        x, y, _ = places[members[0]]
        text = axes.annotate(
            ", ".join(places[member].label for member in members),
            (x, y),
            xytext=(0.0, 0.0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
        )
        size = text.get_window_extent()
        for offset in _offsets():
            box = _box(middles[members[0]] + offset * pixels, size.width / 2, size.height / 2)
            if _inside(box, axes.bbox) and not box.count_overlaps(taken):
                taken.append(box)
                text.set_position(tuple(offset))
                if np.hypot(*offset) > FAR:
                    _lead(axes, (x, y), offset)
                break


def _offsets() -> Iterator[np.ndarray]:
    """Where a label may stand from its place, float64[2] each, the nearest first."""
    for distance in np.arange(NEAREST, FARTHEST, STEP):
        for direction in DIRECTIONS:
            yield distance * np.array([np.cos(direction), np.sin(direction)])


def _lead(axes: Axes, place: tuple[float, float], offset: np.ndarray) -> None:
    """A line to `place` from where the label stands, short of both."""
    line = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 5, "shrinkB": MARKER - 2}
    axes.annotate("", place, xytext=tuple(offset), textcoords="offset points", arrowprops=line)


def _together(middles: Sequence[np.ndarray], near: float) -> Iterator[list[int]]:
    """The indices of each set of places that coincide, in their order."""
    left = list(range(len(middles)))
    while left:
        members = [at for at in left if np.hypot(*(middles[at] - middles[left[0]])) <= near]
        yield members
        left = [at for at in left if at not in members]


def _box(middle: np.ndarray, half_width: float, half_height: float) -> Bbox:
    half = np.array([half_width, half_height])
    return Bbox([middle - half, middle + half])


def _inside(box: Bbox, outer: Bbox) -> bool:
    return bool(outer.containsx(box.x0) and outer.containsx(box.x1)) and bool(
        outer.containsy(box.y0) and outer.containsy(box.y1)
    )
