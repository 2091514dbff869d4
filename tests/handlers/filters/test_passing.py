"""Who passes a filter, beside a reckoning of one anime at a time; and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.catalogue import Catalogue
from bundles.facets import COLUMNS, Facets
from handlers.filters.filter import Filter, Range, Values
from handlers.filters.passing import Passing

ANIME = 21  # not a multiple of eight
RNG = np.random.default_rng(6)
HELD = {
    column: [
        [f"{column} {value}" for value in RNG.choice(5, RNG.integers(0, 4), replace=False)]
        for _ in range(ANIME)
    ]
    for column in COLUMNS
}
FIRST = RNG.integers(1990, 2020, ANIME) * (RNG.random(ANIME) < 0.8)
LAST = (FIRST + RNG.integers(0, 5, ANIME)) * (FIRST > 0) * (RNG.random(ANIME) < 0.8)
EPISODES = RNG.integers(0, 30, ANIME)
CATALOGUE = Catalogue(
    np.arange(1, ANIME + 1) * 3,
    [""] * ANIME,
    [""] * ANIME,
    [""] * ANIME,
    np.zeros(ANIME, np.bool_),
)
FACETS = Facets.of(HELD, np.stack([FIRST, LAST], 1).astype(np.int16), EPISODES.astype(np.int32))
PASSING = Passing(CATALOGUE, FACETS)

IDS = st.lists(st.integers(-1, 3 * ANIME + 5), max_size=30).map(lambda ids: np.array(ids, np.int64))


def lists_of(column: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from([*FACETS.of_column(column)]), max_size=3).map(tuple)


def ranges(low: int, high: int) -> st.SearchStrategy[Range]:
    ends = st.none() | st.integers(low, high) | st.sampled_from([-(2**63), 2**63 - 1])
    return st.builds(Range, ends, ends)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    named = draw(st.sets(st.sampled_from(COLUMNS), max_size=2))
    return Filter(
        **{column: Values(*draw(st.tuples(*[lists_of(column)] * 3))) for column in named},
        years=draw(ranges(1985, 2025)),
        episodes=draw(ranges(-1, 31)),
        without_ids=draw(IDS),
        only_ids=draw(st.none() | IDS),
    )


def passes(row: int, asked: Filter) -> bool:
    """One anime, by the words of the contract."""
    for column in COLUMNS:
        has, values = {*HELD[column][row]}, getattr(asked, column)
        if values.any and not has & {*values.any}:
            return False
        if not has >= {*values.all} or has & {*values.none}:
            return False
    goes_on = FIRST[row] and not LAST[row]
    spans = (
        (asked.years, FIRST[row], 10**9 if goes_on else LAST[row]),
        (asked.episodes, EPISODES[row], EPISODES[row]),
    )
    for (least, most), first, last in spans:
        if (least, most) == (None, None):
            continue
        if not first or (least is not None and last < least) or (most is not None and first > most):
            return False
    anime = CATALOGUE.anime_id[row]
    only = asked.only_ids is None or anime in asked.only_ids
    return only and anime not in asked.without_ids


@settings(max_examples=300, deadline=None)
@given(filters())
def test_who_passes_is_who_passes_one_at_a_time(asked):
    assert PASSING.faults(asked)[0] == 0
    assert PASSING.of(asked).tolist() == [passes(row, asked) for row in range(ANIME)]


def test_an_empty_list_of_only_these_lets_nobody_pass():
    assert not PASSING.of(Filter(only_ids=np.empty(0, np.int64))).any()
    assert PASSING.of(Filter()).all()


def faults_of(facets: Facets, asked: Filter) -> list[tuple[str, str]]:
    count, faults = Passing(CATALOGUE, facets).faults(asked)
    found = [(fault.field, fault.reason) for fault in faults]
    assert len(found) == count
    return found


NAMES = ["Action", "Sci-Fi", "PG-13 - Teens 13 or older", "J.C.Staff", "Slice of Life"]
NAMED = Facets.of({"genres": [NAMES] * ANIME}, None, None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Acton", "Action"),
        ("action", "Action"),
        ("SCI FI", "Sci-Fi"),
        ("PG-13", "PG-13 - Teens 13 or older"),
        ("JC Staff", "J.C.Staff"),
        ("slice-of-life", "Slice of Life"),
    ],
)
def test_a_value_that_is_not_known_is_refused_with_the_nearest(given, meant):
    [(field, reason)] = faults_of(NAMED, Filter(genres=Values(none=("Action", given))))
    assert field == "filter.genres.none[1]"
    assert reason == f"{given!r} is not known; {meant!r} is near it"


@pytest.mark.parametrize("given", ["", "q", "\ud800", "x" * 10_000, "zzzz"])
def test_of_a_value_that_none_is_near_the_list_is_named(given):
    [(field, reason)] = faults_of(NAMED, Filter(genres=Values(any=(given,))))
    assert field == "filter.genres.any[0]"
    assert reason.endswith("is not known; GetModelInfo lists those that are")
    assert len(reason) < 120


def test_what_a_bundle_holds_nothing_of_is_refused_by_its_column():
    asked = Filter(studios=Values(any=("Bones", "Gainax")), years=Range(min=2000))
    held = "this version of the model holds nothing of them; export it anew"
    assert faults_of(NAMED, asked) == [("filter.studios", held), ("filter.years", held)]
