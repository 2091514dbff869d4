import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from anirank.errors import DataError
from training.synthesis.dataset import synthesise
from training.tables.orphans import Orphans
from training.tables.preparation import load_or_prepare, prepare, read_ratings
from training.tables.refusals import Refusals
from training.tables.tables import Source, Tables, adult, detailed

ANIME = "anime-dataset-2023.csv"
USERS = "users-details-2023.csv"
SCORES = "users-score-2023.csv"


@pytest.fixture
def data(synthetic: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(synthetic, tmp_path / "data"))


def append(file: Path, *lines: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.writelines(f"{line}\n" for line in lines)


def test_a_row_of_each_fault_is_counted_by_its_reason(data: Path) -> None:
    before = prepare(data)
    user = int(before.users["user_id"][before.ratings.user_row[0]])
    anime = int(before.anime["anime_id"][before.ratings.anime_row[0]])
    append(
        data / SCORES,
        f"{user},x,{anime},y,11",
        f"{user},x,{anime},y,9.5",
        f"{user},x,{anime},y",
        "66999999,x,66999999,y,7",
        f"{user},x,66999998,y,7",
        f"{user},null,{anime},y,7",
        f"x,x,{anime},y,7",
    )
    after = prepare(data)
    assert len(after.ratings) == len(before.ratings)
    added = after.refusals.total(SCORES) - before.refusals.total(SCORES)
    assert added == 7
    for reason, count in (("malformed line", 1), ("orphan anime", 2), ("duplicate pair", 1)):
        grown = after.refusals.count(SCORES, reason) - before.refusals.count(SCORES, reason)
        assert grown == count, reason
    assert len(after.users) == len(before.users)  # no usable rating makes nobody a rater


def test_a_rater_without_details_is_a_user_of_whom_nothing_is_stated(data: Path) -> None:
    before = prepare(data)
    anime = before.anime["anime_id"][:3].tolist()
    new = [66_999_999, 1, 66_999_999]  # the lowest id comes before all users there are
    assert 1 not in before.users["user_id"].to_numpy()
    append(data / SCORES, *(f"{u},x,{a},y,7" for u, a in zip(new, anime, strict=True)))
    after = prepare(data)
    assert after.users["user_id"].is_monotonic_increasing
    assert len(after.users) == len(before.users) + 2
    assert triples(after) == [
        *triples(before),
        *((u, a, 7) for u, a in zip(new, anime, strict=True)),
    ]
    assert not detailed(after.users)[[0, -1]].any()
    listed = after.users[after.users["user_id"].isin(before.users["user_id"])]
    assert listed.reset_index(drop=True).equals(before.users)
    one, two = Orphans.of(before), Orphans.of(after)
    assert (two.users, two.ratings) == (one.users + 2, one.ratings + 3)
    assert not two.everybody


def test_ratings_need_no_users_file(data: Path, tmp_path: Path) -> None:
    whole = prepare(data)
    (data / USERS).unlink()
    tables = prepare(data)
    assert triples(tables) == triples(whole)
    assert tables.users["user_id"].tolist() == sorted({user for user, _, _ in triples(whole)})
    assert tables.fingerprint != whole.fingerprint
    assert tables.source.synthetic
    assert Orphans.of(tables) == Orphans(len(tables.users), len(tables.ratings), everybody=True)
    tables.save(tmp_path / "prepared")
    assert Tables.load(tmp_path / "prepared").users.equals(tables.users)


def triples(tables: Tables) -> list[tuple[int, int, int]]:
    """User, anime and rating of each rating, by their ids."""
    users = tables.users["user_id"].to_numpy()[tables.ratings.user_row]
    anime = tables.anime["anime_id"].to_numpy()[tables.ratings.anime_row]
    return list(zip(users.tolist(), anime.tolist(), tables.ratings.rating.tolist(), strict=True))


def test_a_whole_rating_written_with_a_point_is_a_rating(data: Path) -> None:
    text = (data / SCORES).read_text("utf-8").splitlines()
    text[1] = text[1].rpartition(",")[0] + ",9.0"
    (data / SCORES).write_text("\n".join(text) + "\n", "utf-8")
    assert prepare(data).ratings.rating[0] == 9


@pytest.mark.parametrize("name", [ANIME, SCORES])
def test_a_missing_file_is_named(data: Path, name: str) -> None:
    (data / name).unlink()
    with pytest.raises(DataError, match=name):
        prepare(data)


@pytest.mark.parametrize("name", [ANIME, USERS, SCORES])
@pytest.mark.parametrize("content", [b"", b"header only"])
def test_an_empty_file_is_named(data: Path, name: str, content: bytes) -> None:
    header = (data / name).read_bytes().split(b"\n")[0] + b"\n"
    (data / name).write_bytes(header if content else b"")
    with pytest.raises(DataError, match=name):
        prepare(data)


@pytest.mark.parametrize(
    ("name", "column"), [(ANIME, "Duration"), (USERS, "Mal ID"), (SCORES, "rating")]
)
def test_a_missing_column_is_named(data: Path, name: str, column: str) -> None:
    text = (data / name).read_text("utf-8")
    header, rest = text.split("\n", 1)
    assert column in header
    (data / name).write_text(header.replace(column, "other", 1) + "\n" + rest, "utf-8")
    with pytest.raises(DataError, match=rf"{name}.*{column}"):
        prepare(data)


@pytest.mark.parametrize("name", [ANIME, USERS, SCORES])
def test_another_encoding_is_refused_by_the_files_name(data: Path, name: str) -> None:
    with (data / name).open("ab") as file:
        file.write("Pokémon,é,é,é,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=rf"{name}.*UTF-8"):
        prepare(data)


def test_a_byte_order_mark_and_another_order_of_columns_change_nothing(data: Path) -> None:
    before = prepare(data)
    with (data / SCORES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (data / SCORES).open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row[::-1] for row in rows)
    after = prepare(data)
    assert np.array_equal(after.ratings.rating, before.ratings.rating)
    assert np.array_equal(after.ratings.user_row, before.ratings.user_row)


def test_saved_tables_are_loaded_alike_and_a_changed_byte_is_refused(
    tables: Tables, tmp_path: Path
) -> None:
    folder = tmp_path / "prepared"
    tables.save(folder)
    loaded = load_or_prepare(folder)
    assert loaded.fingerprint == tables.fingerprint
    assert loaded.anime.equals(tables.anime)
    assert loaded.users.equals(tables.users)
    assert np.array_equal(loaded.ratings.anime_row, tables.ratings.anime_row)
    assert loaded.refusals == tables.refusals == Refusals.from_json(tables.refusals.to_json())
    file = folder / "ratings.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"ratings\.parquet.*SHA-256"):
        Tables.load(folder)


def test_a_folder_that_holds_something_else_is_not_written_over(
    tables: Tables, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(DataError, match="something else"):
        tables.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_ratings_from_another_file_need_three_columns(tables: Tables, tmp_path: Path) -> None:
    user, anime = tables.users["user_id"][0], tables.anime["anime_id"][0]
    file = tmp_path / "held-out.csv"
    file.write_text(f"rating,anime_id,user_id\n7,{anime},{user}\n7,{anime},66999999\n")
    ratings, refusals = read_ratings(file, tables)
    assert ratings.rating.tolist() == [7]
    assert refusals.count("held-out.csv", "orphan user") == 1


def test_a_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 4), ("again", 4), ("other", 5)):
        synthesise(tmp_path / name, users=120, anime=100, ratings=1_000, seed=seed)
    for file in (ANIME, USERS, SCORES):
        one, again, other = ((tmp_path / n / file).read_bytes() for n in ("one", "again", "other"))
        assert one == again != other


def test_synthetic_data_are_told_by_any_file_as_it_was_written(data: Path, tmp_path: Path) -> None:
    prepare(data).save(tmp_path / "prepared")
    assert Tables.load(tmp_path / "prepared").source == Source("data", synthetic=True)
    for file in (SCORES, USERS, ANIME):
        assert prepare(data).source.synthetic
        append(data / file, "")  # another file in its place
    assert prepare(data).source == Source("data", synthetic=False)


def test_synthetic_files_have_the_quirks(synthetic: Path, tables: Tables) -> None:
    anime = (synthetic / ANIME).read_text("utf-8")
    for quirk in ("UNKNOWN", "Unknown", "Not available", " to ?", " sec", "0.0", '""'):
        assert quirk in anime, quirk
    with (synthetic / ANIME).open(encoding="utf-8", newline="") as file:
        assert any("\n" in row["Synopsis"] for row in csv.DictReader(file))
    assert tables.refusals.count(SCORES, "orphan anime") > 0
    assert Orphans.of(tables).users > 0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("users", "anime", "ratings"), [(20, 40, 60), (80, 60, 1_500), (2_000, 1_000, 100_000)]
)
def test_synthetic_data_of_any_size_holds_what_the_examples_ask_for(
    users: int, anime: int, ratings: int, seed: int, tmp_path: Path
) -> None:
    synthesise(tmp_path, users=users, anime=anime, ratings=ratings, seed=seed)
    tables = prepare(tmp_path)
    oldest = [1, 5, 6, 7, 8, 15, 16, 17, 18, 19, 20, 21]
    assert tables.anime["anime_id"].tolist()[:12] == oldest
    assert not adult(tables.anime)[:12].any()  # they may stand in any list
    watched = np.bincount(tables.ratings.anime_row, minlength=anime)
    assert (watched[:12] >= ratings // anime // 3).all()  # enough to tell something
    for user in (366396, 1202590):
        [row] = tables.users.index[tables.users["user_id"] == user]
        assert (
            tables.ratings.user_row == row
        ).sum() > 15  # of 20 or more, less those of orphan anime
    assert len(tables.users) == users + Orphans.of(tables).users


def test_synthetic_ratings_can_be_learnt(tables: Tables) -> None:
    ratings = tables.ratings
    rating = ratings.rating.astype(float)
    test = np.random.default_rng(0).random(len(rating)) < 0.2
    mean = rating[~test].mean()
    bias = np.full(len(rating), mean)
    for rows in (ratings.anime_row, ratings.user_row):
        residual = np.bincount(rows[~test], (rating - bias)[~test], minlength=rows.max() + 1)
        counts = np.bincount(rows[~test], minlength=rows.max() + 1)
        bias += (residual / (counts + 5))[rows]
    constant, biased = np.std(rating[test]), np.sqrt(np.mean((rating - bias)[test] ** 2))
    assert biased < 0.92 * constant
