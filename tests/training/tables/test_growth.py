import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from anirank.errors import DataError
from training.tables.growth import Growth, grown
from training.tables.preparation import ANIME_FILE, USERS_FILE, prepare
from training.tables.tables import Tables

NEW_USER, NEW_ANIME = 66_000_001, 66_000_002


def written(file: Path, *ratings: tuple[int, int, int]) -> Path:
    """A file of ratings: user, anime, rating."""
    lines = ["user_id,anime_id,rating", *(",".join(map(str, rating)) for rating in ratings)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def by_pair(tables: Tables) -> dict[tuple[int, int], int]:
    ratings = tables.ratings
    users = tables.users["user_id"].to_numpy()[ratings.user_row].tolist()
    anime = tables.anime["anime_id"].to_numpy()[ratings.anime_row].tolist()
    return dict(zip(zip(users, anime, strict=True), ratings.rating.tolist(), strict=True))


@pytest.fixture
def catalogue(synthetic: Path, tmp_path: Path) -> Path:
    """The dump's catalogue with an anime more, the first one under another id."""
    file = Path(shutil.copy(synthetic / ANIME_FILE, tmp_path))
    with file.open(encoding="utf-8", newline="") as opened:
        names, first, *_ = csv.reader(opened)
    with file.open("a", encoding="utf-8", newline="") as opened:
        more = {"anime_id": str(NEW_ANIME)}
        csv.writer(opened).writerow([more.get(*each) for each in zip(names, first, strict=True)])
    return file


def test_old_ratings_keep_their_rows_though_new_users_and_anime_stand_among_the_old(
    tables: Tables, catalogue: Path, tmp_path: Path
) -> None:
    known = int(tables.anime["anime_id"][0])
    lowest = int(tables.users["user_id"][0]) - 1
    assert lowest > 0
    file = written(tmp_path / "new.csv", (lowest, NEW_ANIME, 9), (NEW_USER, known, 4))
    growth = grown(tables, file, catalogue)
    assert growth.counts == {"ratings": 2, "replaced": 0, "users": 2, "anime": 1}
    after = by_pair(growth.tables)
    assert after == by_pair(tables) | {(lowest, NEW_ANIME): 9, (NEW_USER, known): 4}
    assert list(after)[: len(tables.ratings)] == list(by_pair(tables))
    for ids in (growth.tables.users["user_id"], growth.tables.anime["anime_id"]):
        assert ids.is_monotonic_increasing
        assert ids.is_unique
    of_new = growth.tables.anime.set_index("anime_id").loc[NEW_ANIME]
    assert of_new["name"] == tables.anime["name"][0]
    assert of_new["genres"] == tables.anime["genres"][0]
    kept = growth.tables.anime.loc[growth.anime_rows].reset_index(drop=True)
    assert kept.equals(tables.anime)


def test_an_anime_of_no_catalogue_is_refused_and_counted(tables: Tables, tmp_path: Path) -> None:
    known = int(tables.anime["anime_id"][0])
    file = written(tmp_path / "new.csv", (NEW_USER, NEW_ANIME, 9), (NEW_USER, known, 4), (1, 2, 11))
    growth = grown(tables, file)
    assert growth.counts == {"ratings": 1, "replaced": 0, "users": 1, "anime": 0}
    assert growth.refusals.count("new.csv", "orphan anime") == 1
    assert growth.refusals.count("new.csv", "rating outside 1..10") == 1
    of_all = growth.tables.refusals
    assert of_all.count("new.csv", "orphan anime") == 1
    assert of_all.total("users-score-2023.csv") == tables.refusals.total("users-score-2023.csv")
    with pytest.raises(DataError, match="no usable rating"):
        grown(tables, written(tmp_path / "worse.csv", (NEW_USER, NEW_ANIME, 9)))


def test_a_rating_of_a_pair_that_has_one_replaces_it_in_its_row(
    tables: Tables, tmp_path: Path
) -> None:
    pairs = list(by_pair(tables).items())
    rows = [17, 3, 900]
    again = [(*pairs[row][0], 11 - pairs[row][1]) for row in rows]
    growth = grown(tables, written(tmp_path / "new.csv", *again))
    assert growth.counts == {"ratings": 0, "replaced": 3, "users": 0, "anime": 0}
    changed = np.flatnonzero(growth.tables.ratings.rating != tables.ratings.rating)
    assert set(changed) <= set(rows)
    for row in rows:
        assert growth.tables.ratings.rating[row] == 11 - tables.ratings.rating[row]
    assert growth.tables.fingerprint != tables.fingerprint


def test_a_new_user_has_the_details_of_a_file_or_none(
    tables: Tables, synthetic: Path, tmp_path: Path
) -> None:
    whole = prepare(synthetic).users
    of = int(whole.dropna(subset=["gender"])["user_id"].iloc[5])
    less = Tables(
        tables.anime,
        whole[whole["user_id"] != of].reset_index(drop=True),
        tables.ratings.at(np.arange(0)),
        "less",
        tables.refusals,
    )
    anime = int(tables.anime["anime_id"][0])
    file = written(tmp_path / "new.csv", (of, anime, 7), (NEW_USER, anime, 7))

    def details(growth: Growth, user: int) -> object:
        return growth.tables.users.set_index("user_id").loc[user]["gender"]

    told = grown(less, file, users_file=synthetic / USERS_FILE)
    assert details(told, of) == whole.set_index("user_id").loc[of]["gender"]
    assert details(told, NEW_USER) is None
    assert details(grown(less, file), of) is None
    assert len(told.tables.users) == len(whole) + 1
