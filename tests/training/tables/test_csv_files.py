import csv
import hashlib
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anirank.errors import DataError
from training.tables.csv_files import CsvFile, Sheet

COLUMNS = {"id": pa.int32(), "note": pa.string()}
# What real files hold: quotes, commas and line ends inside of values.
notes = st.text(st.sampled_from('ab",\né '), max_size=12)


def pieces(path, block_bytes=1 << 20, columns=COLUMNS):
    return list(CsvFile(path, columns, block_bytes).pieces())


def rows(found):
    return [row for piece in found for row in piece.table.to_pylist()]


def error(path, columns=COLUMNS):
    with pytest.raises(DataError) as fault:
        pieces(path, columns=columns)
    message = str(fault.value)
    assert "\n" not in message
    assert path.name in message
    return message


@given(st.lists(notes, min_size=1, max_size=30), st.integers(1, 200))
def test_where_blocks_are_cut_makes_no_difference(tmp_path_factory, values, block_bytes):
    path = tmp_path_factory.mktemp("csv") / "file.csv"
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["note", "extra", "id"])
    starts = []
    for number, value in enumerate(values):
        starts.append(text.getvalue().count("\n") + 1)
        writer.writerow([value, "x", number])
    path.write_bytes(text.getvalue().encode())
    found = pieces(path, block_bytes)
    assert rows(found) == [{"id": n, "note": value} for n, value in enumerate(values)]
    lines = [line for piece in found for line in piece.lines(range(piece.table.num_rows))]
    assert lines == starts
    file = CsvFile(path, COLUMNS, block_bytes)
    list(file.pieces())
    assert file.sha256.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_byte_order_mark_and_another_order_of_columns_are_accepted(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"\xef\xbb\xbfnote,extra,id\r\nhello,x,1\r\n")
    assert rows(pieces(path)) == [{"id": 1, "note": "hello"}]


def test_words_that_read_like_missing_values_stay_words(tmp_path):
    path = tmp_path / "file.csv"
    words = ["null", "NA", "nan", "None", ""]
    path.write_text("id,note\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words)))
    assert [row["note"] for row in rows(pieces(path))] == words


def test_malformed_lines_are_counted_with_their_line_numbers(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,note\n1,a\n\n2\n3,b\n4,c,d\n5,e\n")
    (piece,) = pieces(path)
    assert rows([piece]) == [
        {"id": 1, "note": "a"},
        {"id": 3, "note": "b"},
        {"id": 5, "note": "e"},
    ]
    assert piece.malformed_lines(9) == [(4, 1), (6, 3)]
    assert piece.lines([0, 1, 2]) == [2, 5, 7]


def test_a_quote_never_closed_is_named_by_its_line(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text('id,note\n1,a\n2,"b\n3,c\n4,d\n')
    assert "line 3: a quote is never closed" in error(path)


def test_a_row_is_as_long_as_it_may_be_and_no_longer(tmp_path):
    path = tmp_path / "file.csv"
    long = "x" * 96
    path.write_text(f'id,note\n1,a\n2,{long}\n3,"{long[:94]}"\n4,b\n')
    for block_bytes in (1, 50, 1 << 20):
        file = CsvFile(path, COLUMNS, block_bytes, longest_row=99)
        assert len(rows(file.pieces())) == 4
        with pytest.raises(DataError, match=r"file\.csv, line 3: a row of more than 98 bytes"):
            list(CsvFile(path, COLUMNS, block_bytes, longest_row=98).pieces())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x" * 3_000_000, 1),
        (f"id,note\n1,{'x' * 3_000_000}", 2),
        ('id,note\n1,a\n2,"b\n' + "3,c\n" * 1_000_000, 3),
    ],
)
def test_what_has_no_end_is_named_by_its_line_before_all_is_read(tmp_path, text, line):
    path = tmp_path / "file.csv"
    path.write_text(text)
    file = CsvFile(path, COLUMNS, block_bytes=1 << 19)
    with pytest.raises(DataError, match=rf"^file\.csv, line {line}: a row of more than 1,048,576"):
        list(file.pieces())
    assert file.sha256.hexdigest() != hashlib.sha256(text.encode()).hexdigest()


def test_a_column_name_of_enormous_length_is_an_error_of_its_file(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text(f"id,note,{'x' * 140_000}\n1,a,b\n")
    assert "line 1: not readable as CSV" in error(path)


def test_values_of_another_type_come_back_as_texts(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,note\n1,a\nx,b\n")
    assert rows(pieces(path)) == [{"id": "1", "note": "a"}, {"id": "x", "note": "b"}]


def test_a_missing_file_is_named(tmp_path):
    assert "no such file" in error(tmp_path / "file.csv")


@pytest.mark.parametrize("text", ["", "id,note\n", "id,note", "id,note\n\n\n"])
def test_a_file_without_rows_is_refused(tmp_path, text):
    path = tmp_path / "file.csv"
    path.write_text(text)
    assert "empty" in error(path) or "no rows" in error(path)


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,text\n1,a\n")
    assert error(path) == "file.csv: no column 'note'; found id, text"


def test_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,note,note\n1,a,b\n")
    assert "more than once" in error(path)


def test_the_line_that_is_not_utf8_is_named_even_in_an_unwanted_column(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"id,note,extra\n1,a,b\n2,c,caf\xe9\n3,d,e\n")
    assert "line 3: not UTF-8" in error(path)


def test_utf16_is_refused_at_the_header(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("id,note\n1,a\n", encoding="utf-16")
    assert "line 1: not UTF-8" in error(path)


def test_a_sheet_knows_the_line_of_each_row(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text('id,note\n1,"two\nlines"\n2\n3,b\n')
    sheet = Sheet.read(path, ["id", "note"])
    assert sheet.table.to_pylist() == [
        {"id": "1", "note": "two\nlines"},
        {"id": "3", "note": "b"},
    ]
    assert sheet.lines(np.array([0, 1])) == [2, 5]
