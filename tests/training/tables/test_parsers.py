from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tables import parsers


@pytest.mark.parametrize(
    ("cell", "minutes"),
    [
        ("24 min per ep", 24),
        ("24 min", 24),
        ("1 hr 55 min", 115),
        ("2 hr", 120),
        ("1 hr 2 min per ep", 62),
        ("44 sec per ep", 44 / 60),
        ("30 sec", 0.5),
        ("Unknown", None),
        ("UNKNOWN", None),
        ("", None),
    ],
)
def test_a_duration_is_in_minutes_and_seconds_count(cell: str, minutes: float | None) -> None:
    assert parsers.duration(cell) == (minutes if minutes is None else pytest.approx(minutes))


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.booleans())
def test_every_duration_that_can_be_written_is_read_back(
    hours: int, minutes: int, seconds: int, per_episode: bool
) -> None:
    parts = [(hours, "hr"), (minutes, "min"), (seconds, "sec")]
    cell = " ".join(f"{count} {unit}" for count, unit in parts if count)
    if cell:
        total = hours * 60 + minutes + seconds / 60
        assert parsers.duration(cell + " per ep" * per_episode) == pytest.approx(total)


@pytest.mark.parametrize(
    ("cell", "start", "end"),
    [
        ("Apr 3, 1998 to Apr 24, 1999", date(1998, 4, 3), date(1999, 4, 24)),
        ("Sep 1, 2001", date(2001, 9, 1), date(2001, 9, 1)),
        ("Oct 20, 1999 to ?", date(1999, 10, 20), None),
        ("Apr 1994 to Jan 27, 1995", date(1994, 4, 1), date(1995, 1, 27)),
        ("Jul 2023 to ?", date(2023, 7, 1), None),
        ("1983 to 1989", date(1983, 1, 1), date(1989, 1, 1)),
        ("Feb 1995", date(1995, 2, 1), date(1995, 2, 1)),
        ("2006", date(2006, 1, 1), date(2006, 1, 1)),
        ("Not available", None, None),
    ],
)
def test_aired_is_read_in_every_spelling(cell: str, start: date | None, end: date | None) -> None:
    assert (parsers.air_start(cell), parsers.air_end(cell)) == (start, end)


@given(st.dates(date(1900, 1, 1)), st.dates(date(1900, 1, 1)))
def test_every_range_of_days_is_read_back(start: date, end: date) -> None:
    cell = " to ".join(f"{day:%b} {day.day}, {day.year}" for day in (start, end))
    assert (parsers.air_start(cell), parsers.air_end(cell)) == (start, end)


@given(st.text(max_size=20))
def test_no_text_does_more_than_fail_to_be_read(cell: str) -> None:
    for reader in (parsers.number, parsers.duration, parsers.air_start, parsers.day):
        with suppress(ValueError):  # anything else fails the test
            reader(cell)


def test_the_place_zero_is_none() -> None:
    assert parsers.position("0.0") is None
    assert parsers.position("0") is None
    assert parsers.position("15.0") == 15
    assert parsers.number("0.0") == 0


def test_lists_are_cut_at_commas_and_missing_ones_are_empty() -> None:
    assert parsers.names("Action, Award Winning, Sci-Fi") == ["Action", "Award Winning", "Sci-Fi"]
    assert parsers.names("UNKNOWN") == []
