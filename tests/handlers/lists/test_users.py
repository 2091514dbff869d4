"""Whose lists are asked for."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anirank.errors import DataError
from bundles.histories import Histories
from handlers.lists.users import asked_for, read_users


@pytest.mark.parametrize(
    "text",
    [
        "30\n10\n-5\n10\n",
        "30\r\n10\r\n\r\n-5\r\n",
        "user_id\n30\n10\n-5\n",
        "\ufeffname,user_id\n山田,30\nx,10\ny,-5\nz,10\n",
        '"user_id","gender"\n"30","Male"\n10,\n-5,\n',
    ],
)
def test_ids_are_read_from_text_in_order_and_each_once(tmp_path, text):
    file = tmp_path / "users.csv"
    file.write_text(text, encoding="utf-8")
    assert read_users(file).tolist() == [-5, 10, 30]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.float64()])
def test_ids_are_read_from_parquet(tmp_path, kind):
    table = pa.table({"name": ["a", "b", "c"], "user_id": pa.array([30, 10, 30], kind)})
    pq.write_table(table, tmp_path / "users.parquet")
    assert read_users(tmp_path / "users.parquet").tolist() == [10, 30]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should hold user ids, one a row"),
        ("user_id\n", "holds no user ids"),
        ("anime_id,user\n1,2\n", "no column 'user_id'; found anime_id, user"),
        ("user_id\n7\nseven\n", "should hold user ids, one a row .*seven"),
        ("7\nseven\n", "should hold user ids, one a row .*seven"),
        ("7\n99999999999999999999\n", "should hold user ids, one a row"),
        ("name,user_id\na,7\nb,\n", "1 rows without a user_id"),
        ("7,8\n9,10\n", "no column 'user_id'; found 7, 8"),
    ],
)
def test_text_without_ids_is_refused_by_its_name(tmp_path, text, said):
    file = tmp_path / "users.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=said) as refused:
        read_users(file)
    assert str(refused.value).startswith(f"{file}: ")


def test_what_is_no_text_and_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "a.parquet").write_bytes(b"user_id\n7\n")
    pq.write_table(pa.table({"user_id": [7.5]}), tmp_path / "halves.parquet")
    pq.write_table(pa.table({"user": [7]}), tmp_path / "other.parquet")
    (tmp_path / "folder").mkdir()
    for name in ("a.txt", "a.parquet", "halves.parquet", "other.parquet", "folder", "absent.csv"):
        with pytest.raises(DataError, match=f"{name}: "):
            read_users(tmp_path / name)


def test_all_whom_a_bundle_knows_are_asked_for_where_no_file_is(toy):
    users, unknown = asked_for(toy, None, skip_unknown=False)
    assert users.tolist() == toy.histories.user_id.tolist()
    assert not len(unknown)


def test_unknown_users_are_told_and_left_out_on_request(toy, tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("7\n20\n10\n8\n")
    for skip, expected in ((False, [7, 8, 10, 20]), (True, [10, 20])):
        users, unknown = asked_for(toy, file, skip)
        assert (users.tolist(), unknown.tolist()) == (expected, [7, 8])
    file.write_text("7\n8\n")
    with pytest.raises(DataError, match="names no user whom"):
        asked_for(toy, file, skip_unknown=True)


def test_a_bundle_that_knows_nobody_needs_a_file(toy, tmp_path):
    nobody = replace(toy, histories=Histories(*(np.array(of) for of in ([], [0], [], []))))
    with pytest.raises(DataError, match="knows no users; name some in a file"):
        asked_for(nobody, None, skip_unknown=False)
    (tmp_path / "users.txt").write_text("7\n")
    assert asked_for(nobody, tmp_path / "users.txt", skip_unknown=False).unknown.tolist() == [7]
