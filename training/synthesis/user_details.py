"""Invented users' details, and the file that lists them as the dump would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bundles import files

HEADER = (
    "Mal ID,Username,Gender,Birthday,Location,Joined,Days Watched,Mean Score,Watching,Completed,"
    "On Hold,Dropped,Plan to Watch,Total Entries,Rewatched,Episodes Watched\n"
)

_GENDERS, _GENDER_SHARES = ["", "Male", "Female", "Non-Binary"], [0.693, 0.184, 0.117, 0.006]
_PLACES = ["Tokyo, Japan", "California, USA", "Manila, Philippines", "Berlin", "Brazil", "Lyon"]
_PLACES += ['the "Leaf" village', "Kraków", "São Paulo, Brazil", "Jakarta", "somewhere, far away"]
_SITE_OPENED = np.datetime64("2004-11-05")
_DUMPED = np.datetime64("2023-07-01")
_ABSURD_BIRTHDAYS = np.array(["1930-01-01", "1901-12-14", "2023-06-30"], dtype="datetime64[D]")
_MIDNIGHT = "T00:00:00+00:00"


@dataclass(frozen=True)
class Activity:
    """What the lists say of U users: float64[U] each, zeros for those without a list.

    ``days``: watched; ``mean``: of the ratings; ``rated`` and ``episodes``: how many.
    """

    days: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    rated: npt.NDArray[np.float64]
    episodes: npt.NDArray[np.float64]


def write(
    path: Path,
    ids: npt.NDArray[np.int64],
    usernames: pa.StringArray,
    activity: Activity,
    rng: np.random.Generator,
) -> None:
    """Write the details of U users: ``ids``: int64[U], increasing, names quoted where needed."""
    users = len(ids)
    birthdays = np.datetime64("1960-01-01") + rng.integers(0, 50 * 365, users)
    absurd = rng.random(users) < 0.002
    birthdays[absurd] = rng.choice(_ABSURD_BIRTHDAYS, int(absurd.sum()))
    joined = _SITE_OPENED + (
        np.arange(users) / users * ((_DUMPED - _SITE_OPENED) / np.timedelta64(1, "D"))
    ).astype(np.int64)
    columns = [
        pa.array(ids).cast(pa.string()),
        usernames,
        pa.array(_GENDERS).take(pa.array(rng.choice(len(_GENDERS), users, p=_GENDER_SHARES))),
        _blanked(_days(birthdays), rng.random(users) < 0.77),
        _blanked(
            quoted(_PLACES).take(pa.array(rng.integers(0, len(_PLACES), users))),
            rng.random(users) < 0.79,
        ),
        _days(joined),
        *_statistics(activity, rng),
    ]
    with files.whole(path) as scratch, scratch.open("wb") as stream:
        stream.write(HEADER.encode())
        stream.write(lines(columns))


def quoted(texts: list[str]) -> pa.StringArray:
    """Texts as CSV values: in quotes where they hold a quote, a comma or a line's end."""
    return pa.array(
        [
            '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text
            for text in texts
        ],
        pa.string(),
    )


def lines(columns: list[pa.StringArray]) -> memoryview:
    """The bytes of the CSV lines with these columns."""
    joined = pc.binary_join_element_wise(*columns, ",")
    ended = pc.binary_join_element_wise(joined, "", "\n")  # the separator ends each line
    # Arrow keeps the texts of an array one after another: together they are the file.
    return memoryview(ended.buffers()[2])


def _statistics(activity: Activity, rng: np.random.Generator) -> list[pa.StringArray]:
    users = len(activity.rated)
    idle = (activity.rated == 0) & (rng.random(users) < 0.6)
    typical = np.maximum(activity.rated, rng.lognormal(3, 1, users))

    def some(share: float) -> npt.NDArray[np.float64]:
        return np.where(idle, 0, np.floor(typical * rng.gamma(0.5, share, users)))

    watching, on_hold, dropped, planned = some(0.1), some(0.1), some(0.15), some(0.6)
    unrated = some(0.2)
    completed = activity.rated + unrated
    numbers = [
        np.round(activity.days + unrated * 0.2, 1),
        np.round(activity.mean, 2),
        watching,
        completed,
        on_hold,
        dropped,
        planned,
        watching + completed + on_hold + dropped + planned,
        some(0.05),
        activity.episodes + unrated * 12,
    ]
    empty = np.zeros(users, dtype=np.bool_)
    empty[rng.choice(users, min(8, users // 20), replace=False)] = True
    return [_blanked(_spelled(column), empty) for column in numbers]


def _spelled(numbers: npt.NDArray[np.float64]) -> pa.StringArray:
    distinct, place = np.unique(numbers, return_inverse=True)
    return pa.array([repr(number) for number in distinct.tolist()]).take(pa.array(place))


def _days(days: npt.NDArray[Any]) -> pa.StringArray:
    distinct, place = np.unique(days, return_inverse=True)
    spelled = [f"{day}{_MIDNIGHT}" for day in distinct.astype("datetime64[D]")]
    return pa.array(spelled).take(pa.array(place))


def _blanked(texts: pa.StringArray, blank: npt.NDArray[np.bool_]) -> pa.StringArray:
    return pc.if_else(pa.array(blank), "", texts)
