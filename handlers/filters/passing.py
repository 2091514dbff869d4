"""Which anime of a catalogue pass a filter: bits of each value, put together a word at a time."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from anirank.errors import Fault, quoted
from bundles.catalogue import Catalogue
from bundles.facets import COLUMNS, Facets
from handlers.filters.filter import Filter, Range
from handlers.filters.nearest import Nearest

_LAST_YEAR = np.iinfo(np.int16).max


class Passing:
    """Filters the anime of one bundle."""

    def __init__(self, catalogue: Catalogue, facets: Facets) -> None:
        """Make the bits of each value of `facets`, which are of `catalogue`."""
        self._catalogue = catalogue
        self._places = {column: facets.of_column(column) for column in COLUMNS}
        self._nearest = {column: Nearest([*of]) for column, of in self._places.items()}
        self._bits = np.zeros((len(facets.values), -(-len(catalogue) // 8)), np.uint8)
        has = np.zeros(len(catalogue), np.bool_)
        for value, (begin, end) in enumerate(
            zip(facets.offsets[:-1], facets.offsets[1:], strict=True)
        ):
            has[facets.rows[begin:end]] = True
            self._bits[value] = np.packbits(has)
            has[facets.rows[begin:end]] = False
        self._ends = _ends(facets)

    def faults(self, asked: Filter) -> tuple[int, Iterator[Fault]]:
        """What of a filter this bundle does not know: how many, and each of them."""
        absent = {f"filter.{column}" for column, *_ in asked.lists() if not self._places[column]}
        absent |= {f"filter.{name}" for name, _ in asked.ranges() if name not in self._ends}
        unknown = [
            (f"filter.{column}.{name}[{i}]", column, value)
            for column, name, values in asked.lists()
            if self._places[column]
            for i, value in enumerate(values)
            if value not in self._places[column]
        ]
        return len(absent) + len(unknown), self._faults(sorted(absent), unknown)

    def _faults(
        self, absent: Iterable[str], unknown: Iterable[tuple[str, str, str]]
    ) -> Iterator[Fault]:
        for path in absent:
            yield Fault(path, "this version of the model holds nothing of them; export it anew")
        for path, column, value in unknown:
            near = self._nearest[column].to(value)
            hint = "GetModelInfo lists those that are" if near is None else f"{near!r} is near it"
            yield Fault(path, f"{quoted(value)} is not known; {hint}")

    def of(self, asked: Filter) -> NDArray[np.bool_]:
        """bool[A], who of the catalogue passes a filter without faults."""
        bits = np.full(self._bits.shape[1], 0xFF, np.uint8)
        for column, name, values in asked.lists():
            of = self._bits[[self._places[column][value] for value in values]]
            if name == "all":
                bits &= np.bitwise_and.reduce(of)
            else:
                some = np.bitwise_or.reduce(of)
                bits &= some if name == "any" else ~some
        keep = np.unpackbits(bits, count=len(self._catalogue)).view(np.bool_)
        for name, ends in asked.ranges():
            keep &= _within(*self._ends[name], ends)
        if asked.only_ids is not None:
            only = np.zeros(len(keep), np.bool_)
            only[self._rows(asked.only_ids)] = True
            keep &= only
        keep[self._rows(asked.without_ids)] = False
        return keep

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        rows = self._catalogue.rows(ids)
        return rows[rows >= 0]


def _ends(facets: Facets) -> dict[str, tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """By name of a range, int32[A] each: the first and the last number of each anime; 0 = none."""
    found = {}
    if facets.years is not None:
        first, last = facets.years.astype(np.int32).T.copy()
        found["years"] = first, np.where((first > 0) & (last == 0), _LAST_YEAR, last)
    if facets.episodes is not None:
        episodes = facets.episodes.astype(np.int32)
        found["episodes"] = episodes, episodes
    return found


def _within(first: NDArray[np.int32], last: NDArray[np.int32], ends: Range) -> NDArray[np.bool_]:
    """bool[A], whose numbers from first to last have one within the ends."""
    keep = first > 0
    if ends.min is not None:
        keep &= last >= ends.min
    if ends.max is not None:
        keep &= first <= ends.max
    return keep
