import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from anirank.errors import DataError
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare
from training.tables.refusals import EXAMPLES, Refusals
from training.tables.tables import Tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dump")
    synthesise(folder, users=200, anime=100, ratings=3000)
    return prepare(folder)


@pytest.fixture
def saved(tables, tmp_path):
    tables.save(tmp_path / "prepared")
    return tmp_path / "prepared"


def test_tables_come_back_as_they_were_saved(tables, saved):
    loaded = Tables.load(saved)
    pd.testing.assert_frame_equal(loaded.anime, tables.anime)
    pd.testing.assert_frame_equal(loaded.users, tables.users)
    for name in ("user_row", "anime_row", "rating"):
        before, after = getattr(tables.ratings, name), getattr(loaded.ratings, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert loaded.fingerprint == tables.fingerprint
    assert loaded.refusals == tables.refusals


def test_the_types_are_those_promised(tables):
    assert tables.ratings.user_row.dtype == np.int32
    assert tables.ratings.anime_row.dtype == np.int32
    assert tables.ratings.rating.dtype == np.int8
    assert tables.anime["anime_id"].dtype == np.int32
    assert tables.users["user_id"].dtype == np.int32
    assert tables.anime["air_start"].dtype.kind == "M"
    for frame, texts in ((tables.anime, ["type", "source"]), (tables.users, ["gender"])):
        assert isinstance(frame.index, pd.RangeIndex)
        for column in texts:
            assert all(value is None or type(value) is str for value in frame[column])
    assert all(type(genres) is list for genres in tables.anime["genres"])


def test_saving_again_replaces_and_leaves_nothing_else_behind(tables, saved):
    tables.save(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["prepared"]
    Tables.load(saved)


def test_saving_over_something_else_is_refused_and_harms_nothing(tables, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    for place in (tmp_path, precious):
        with pytest.raises(DataError, match="holds something else"):
            tables.save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    assert precious.read_text() == "mine"


def test_a_save_that_fails_leaves_the_earlier_one_whole(tables, saved):
    broken = Tables(
        tables.anime, tables.users.drop(columns="gender"), tables.ratings, "", Refusals()
    )
    with pytest.raises(KeyError):
        broken.save(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["prepared"]
    assert Tables.load(saved).fingerprint == tables.fingerprint


@pytest.mark.parametrize("name", ["anime", "users", "ratings"])
def test_one_changed_byte_is_found_and_named(saved, name):
    file = saved / f"{name}.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}\.parquet: its SHA-256"):
        Tables.load(saved)


def test_a_missing_file_is_named(saved):
    (saved / "ratings.parquet").unlink()
    with pytest.raises(DataError, match=r"ratings\.parquet: missing"):
        Tables.load(saved)


def test_a_folder_of_another_kind_is_not_loaded(tmp_path):
    with pytest.raises(DataError, match="not a prepared folder"):
        Tables.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "sha256": 3}'])
def test_a_damaged_manifest_is_an_error(saved, text):
    (saved / "tables.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        Tables.load(saved)


def test_a_folder_of_a_later_format_is_refused(saved):
    manifest = json.loads((saved / "tables.json").read_text())
    (saved / "tables.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        Tables.load(saved)


counted = st.tuples(
    st.sampled_from(["a.csv", "b.csv"]),
    st.sampled_from(["orphan user", "unreadable id"]),
    st.integers(1, 1000),
    st.lists(st.text(max_size=8), max_size=8),
)


def report(events):
    refusals = Refusals()
    for event in events:
        refusals.add(*event)
    return refusals


@given(st.lists(counted, max_size=8))
def test_a_report_of_refusals_survives_json(events):
    refusals = report(events)
    assert Refusals.from_json(refusals.to_json()) == refusals


@given(st.lists(counted, max_size=8), st.lists(counted, max_size=8))
def test_merged_reports_count_what_each_counted(first, second):
    merged = report(first)
    merged.merge(report(second))
    assert merged.by_file.keys() == report(first + second).by_file.keys()
    for file, reasons in merged.by_file.items():
        assert merged.total(file) == sum(n for f, _, n, _ in first + second if f == file)
        assert all(len(refusal.examples) <= EXAMPLES for refusal in reasons.values())


@pytest.mark.parametrize("text", ["[]", "{", '{"a.csv": 3}', '{"a.csv": {"b": {}}}'])
def test_another_json_is_no_report(text):
    with pytest.raises(ValueError, match=r"."):
        Refusals.from_json(text)


def test_a_report_prints_its_counts_and_takes_no_text_for_markup():
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as printed:
        console.print(report([("a.csv", "orphan user", 1234, ["line 3: [red]x[/red]"])]))
    assert "1,234" in printed.get()
    assert "[red]x[/red]" in printed.get()
