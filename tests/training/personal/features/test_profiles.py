from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anirank.errors import RunError
from training.personal.features.profiles import AGGREGATES, Profiles
from training.tables.tables import Tables


@pytest.fixture
def users() -> pd.DataFrame:
    days = pd.to_datetime(pd.Series(["1990-05-01", "2000-05-01", "1066-10-14", None]))
    return pd.DataFrame(
        {
            "gender": ["Male", None, "Female", "Martian"],
            "birthday": days.astype("datetime64[s]"),
            "joined": pd.Series([None] * 4, dtype="datetime64[s]"),
        }
    )


def test_what_is_not_stated_is_zero_and_absurd_birthdays_are_not_stated(
    users: pd.DataFrame,
) -> None:
    profiles = Profiles.fit(users, np.array([True, True, True, False]), aggregates=False)
    assert profiles.genders == ("Female", "Male")
    assert profiles.scale == {"birth_year": (1995.0, 5.0)}  # no date of joining is stated
    matrix = profiles.matrix(profiles.stated(users))
    np.testing.assert_array_equal(matrix, [[0, 1, -1], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert matrix.shape[1] == profiles.size


def test_the_dumps_own_aggregates_are_left_alone_unless_asked_for(tables: Tables) -> None:
    everybody = np.ones(len(tables.users), dtype=bool)
    assert not set(AGGREGATES) & set(Profiles.fit(tables.users, everybody, False).scale)
    assert set(AGGREGATES) <= set(Profiles.fit(tables.users, everybody, True).scale)


def test_they_are_read_as_they_were_saved(users: pd.DataFrame, tmp_path: Path) -> None:
    profiles = Profiles.fit(users, np.ones(4, dtype=bool), aggregates=False)
    profiles.save(tmp_path)
    assert Profiles.load(tmp_path) == profiles
    (tmp_path / "traits.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        Profiles.load(tmp_path)
