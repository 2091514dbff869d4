"""Lists as MyAnimeList exports them, and whatever else a person may take for one."""

import gzip
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anirank.errors import MalExportError
from handlers.forms import mal_export
from handlers.forms.mal_export import Entry, Status, read_mal_export
from tests.handlers.forms.exported import entry, exported

LIST = exported(
    entry(1, "Cowboy Bebop", 9, "Completed", times=2),
    entry(5, "Tengoku no Tobira <i> & more]", 0, "Watching"),
    entry(6, "Trigun", 7, "On-Hold"),
    entry(7, "Witch Hunter Robin", 3, "Dropped"),
    entry(8, "Bouken Ou Beet", 0, "Plan to Watch"),
)


def packed(content: bytes) -> bytes:
    """Gzip that is the same whenever it is made: the processes of one run compare their tests."""
    return gzip.compress(content, mtime=0)


def refused(content: bytes) -> str:
    with pytest.raises(MalExportError) as error:
        read_mal_export(content, "list.xml")
    said = str(error.value)
    assert said.startswith("list.xml")
    assert len(said.splitlines()) == 1
    assert len(said) < 400
    return said


@pytest.mark.parametrize("content", [LIST, gzip.compress(LIST)], ids=["xml", "gzip"])
def test_scores_and_statuses_of_a_list_are_read(content: bytes) -> None:
    own = read_mal_export(content, "list.xml")
    assert own.entries == (
        Entry(1, Status.COMPLETED, 9.0, 2),
        Entry(5, Status.WATCHING, None, 0),
        Entry(6, Status.ON_HOLD, 7.0, 0),
        Entry(7, Status.DROPPED, 3.0, 0),
        Entry(8, Status.PLANNED, None, 0),
    )


def test_what_is_planned_is_not_watched() -> None:
    own = read_mal_export(LIST, "list.xml")
    assert own.history(most=10) == {1: 9.0, 5: None, 6: 7.0, 7: 3.0}


def test_of_a_long_list_those_are_kept_that_tell_most_of_taste() -> None:
    own = read_mal_export(
        exported(
            entry(1, "mean", 6, "Completed"),
            entry(2, "not rated", 0, "Completed"),
            entry(3, "best", 10, "Completed"),
            entry(4, "worst", 2, "Dropped"),
            entry(5, "good", 8, "Watching"),
            entry(6, "good and finished", 8, "Completed"),
            entry(7, "poor, seen again", 4, "Completed", times=1),
            entry(8, "poor", 4, "Completed"),
        ),
        "list.xml",
    )
    kept = [set(own.history(most)) for most in range(1, 8)]
    added = [new - old for old, new in zip([set(), *kept], kept, strict=False)]
    assert added == [{3}, {4}, {7}, {6}, {8}, {5}, {1}]


def test_an_anime_that_stands_twice_counts_once() -> None:
    twice = exported(entry(1, "a", 9, "Completed"), entry(1, "a", 2, "Completed"))
    assert read_mal_export(twice, "list.xml").history(9) == {1: 9.0}


def test_an_account_without_anime_has_an_empty_list() -> None:
    assert read_mal_export(exported(), "list.xml").entries == ()


NO_LISTS = [
    (b"", "is empty"),
    (b"not xml at all", "line 1, column 0: is not XML"),
    (b"\x00\x01\x02", "is not text in UTF-8"),
    (b'{"anime": []}', "is not XML"),
    (b"PK\x03\x04", "is not XML"),
    (b"<html><body>Sign in</body></html>", "is 'html', should be 'myanimelist'"),
    (b"<anidb><anime/></anidb>", "is 'anidb', should be 'myanimelist'"),
    ("<myanimelist/>".encode("utf-16"), "is not text in UTF-8"),
    ("<myanimelist/>".encode("utf-16-be"), "is not text in UTF-8"),
    ("<myanimelist>\xe9</myanimelist>".encode("latin-1"), "is not XML"),
    (LIST[: len(LIST) // 2], "ends in the middle, on line"),
    (b"<myanimelist>", "ends in the middle, on line 1"),
    (b"<myanimelist/><more/>", "is not XML (junk after document element)"),
    (b"<myanimelist>&name;</myanimelist>", "is not XML (undefined entity"),
    (packed(LIST)[:200], "ends in the middle of its gzip"),
    (packed(LIST)[:3], "ends in the middle of its gzip"),
    (packed(LIST)[:9] + b"\xff" * 60, "is damaged gzip"),
    (packed(LIST)[:-8] + bytes(8), "is damaged gzip"),
    (packed(packed(LIST)), "is not text"),
    (exported("<manga></manga>"), "is a list of manga"),
    (exported("<anime><a><b/></a></anime>"), "'b' is nested deeper"),
    (exported(entry(0, "a", 9, "Completed")), "series_animedb_id of entry 1 is '0'"),
    (exported(entry("x" * 999, "a", 9, "Completed")), "should be an id"),
    (exported(entry(1, "a", 11, "Completed")), "my_score of anime 1 is '11'"),
    (exported(entry(1, "a", "nan", "Completed")), "my_score of anime 1 is 'nan'"),
    (exported(entry(1, "a", "0.5", "Completed")), "my_score of anime 1 is '0.5'"),
    (exported(entry(1, "a", 9, "Seen")), "my_status of anime 1 is 'Seen', should be one of"),
    (exported(entry(1, "a", 9, "Completed", times=-1)), "my_times_watched of anime 1 is '-1'"),
    (exported("<anime></anime>"), "series_animedb_id of entry 1 is ''"),
]


@pytest.mark.parametrize(("content", "named"), NO_LISTS, ids=[named for _, named in NO_LISTS])
def test_what_is_no_list_is_refused_in_one_line(content: bytes, named: str) -> None:
    assert named in refused(content)


def test_a_billion_laughs_are_not_laughed() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><myanimelist>&l9;</myanimelist>'
    assert "declares a document type or entities" in refused(bomb.encode())


def test_no_other_file_is_read_for_a_list(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1")
    for name in ("SYSTEM", "PUBLIC 'x'"):
        document = f'<!DOCTYPE x [<!ENTITY s {name} "{secret}">]><myanimelist>&s;</myanimelist>'
        assert "declares a document type" in refused(document.encode())
    refused(f'<!DOCTYPE x SYSTEM "{secret}"><myanimelist/>'.encode())


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"\0", b"<myanimelist> "], ids=["nul", "blanks"])
def test_of_a_gzip_bomb_no_more_is_unpacked_than_a_list_may_have(content: bytes) -> None:
    bomb = gzip.compress(content + content[-1:] * (1 << 28), 9)
    tracemalloc.start()
    try:
        said = refused(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "has more than 32 MiB of XML" in said
    assert peak < 3 * mal_export.MOST_BYTES


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"<myanimelist>" + b" " * mal_export.MOST_BYTES, "has more than 32 MiB of XML"),
        (gzip.compress(b"") + bytes(mal_export.MOST_PACKED), "has more than 8 MiB of gzip"),
        (b"<myanimelist>" * 10_000, "nested deeper"),
        (b"<myanimelist a='" + b">" * 70_000 + b"'/>", "has a tag longer than any"),
        (b"<myanimelist " + b" ".join(b"a%d=''" % i for i in range(99)) + b"/>", "99 attributes"),
    ],
    ids=["plain", "packed", "nested", "tag", "attributes"],
)
def test_what_is_larger_than_any_list_is_refused(content: bytes, named: str) -> None:
    assert named in refused(content)


@pytest.mark.slow
def test_a_list_of_too_many_elements_is_not_read_to_its_end() -> None:
    began = time.perf_counter()
    said = refused(b"<myanimelist>" + b"<x/>" * (mal_export.MOST_ELEMENTS + 1))
    assert "has more than 750,000 elements" in said
    assert time.perf_counter() - began < 20


@given(st.binary(max_size=300) | st.binary(max_size=300).map(gzip.compress))
def test_any_bytes_are_a_list_or_an_error_of_ours(content: bytes) -> None:
    refused(content)


@given(st.data())
def test_a_list_that_is_damaged_anywhere_is_a_list_or_an_error_of_ours(data) -> None:
    place = data.draw(st.integers(0, len(LIST) - 1))
    damaged = bytearray(LIST)
    damaged[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    content = bytes(damaged)
    try:
        read_mal_export(gzip.compress(content) if data.draw(st.booleans()) else content, "list.xml")
    except MalExportError:
        refused(content)
