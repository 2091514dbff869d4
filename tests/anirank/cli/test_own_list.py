"""`anirank rank --mal-export`: a person's own list in place of a history."""

import gzip
import sys
from pathlib import Path

import pytest

from anirank.cli.app import main
from tests.anirank.program import anirank, facade
from tests.handlers.forms.exported import entry, exported
from tests.handlers.forms.test_mal_export import NO_LISTS

# Of the toy's catalogue, which has every third id: 3, 6, 9, ...; 4 is not in it.
OWN = exported(
    entry(3, "Title 3", 9, "Completed", times=1),
    entry(6, "Title 6", 0, "Watching"),
    entry(9, "Title 9", 2, "Dropped"),
    entry(4, "Not there", 8, "On-Hold"),
    entry(12, "Title 12", 0, "Plan to Watch"),
)


def rank(monkeypatch, capsys, *arguments: str | Path) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["anirank", "rank", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said, complained = capsys.readouterr()
    return int(ended.value.code or 0), said, complained


@pytest.mark.parametrize("name", ["animelist.xml", "animelist.xml.gz"])
def test_a_list_is_ranked_by_as_a_history_of_the_same_is(
    toy_dir, tmp_path, monkeypatch, capsys, name
) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(OWN) if name.endswith(".gz") else OWN)
    of_file = ("--bundle", toy_dir, "--explain", "--top", "5")
    code, said, _ = rank(monkeypatch, capsys, "--mal-export", file, *of_file)
    assert code == 0
    first, *rest = said.splitlines()
    assert first == (f"{file}: 4 anime watched, 3 of them rated; 1 planned, which are not used")
    _, other, _ = rank(monkeypatch, capsys, "--history", "3:9,6,9:2,4:8", *of_file)
    assert rest == other.splitlines()
    assert rest[0] == "a visitor, by 3 of the 4 anime given"
    assert "history not in the catalogue: 4" in rest
    assert "because you" in said


@pytest.mark.slow
def test_a_facades_limit_is_what_a_long_list_is_cut_to(toy_dir, tmp_path) -> None:
    file = tmp_path / "animelist.xml"
    file.write_bytes(OWN)
    with facade(toy_dir.parents[1], "--name", "toy", "--max-history", "2") as address:
        cut = anirank("rank", "--mal-export", file, "--address", address, "--top", "60")
        same = anirank("rank", "--history", "9:2,3:9", "--address", address, "--top", "60")
    assert cut.returncode == 0, cut.stderr
    _, second, *rest = cut.stdout.splitlines()
    assert second.startswith("a history holds 2: of these the rated first")
    assert [line for line in rest if "│" in line] == [
        line for line in same.stdout.splitlines() if "│" in line
    ]


NOTHING_WATCHED = [
    (exported(), "none was watched"),
    (exported(entry(12, "a", 0, "Plan to Watch")), "has 1 anime, of which none was watched"),
]


@pytest.mark.parametrize(
    ("content", "named"),
    NO_LISTS + NOTHING_WATCHED,
    ids=[named for _, named in NO_LISTS + NOTHING_WATCHED],
)
def test_what_is_no_list_is_one_line_and_exit_code_2(
    toy_dir, tmp_path, monkeypatch, capsys, content: bytes, named: str
) -> None:
    file = tmp_path / "list.xml"
    file.write_bytes(content)
    code, said, complained = rank(monkeypatch, capsys, "--mal-export", file, "--bundle", toy_dir)
    assert (code, said) == (2, "")
    assert len(complained.splitlines()) == 1
    assert str(file) in complained
    assert named in complained


def test_a_file_that_cannot_be_read_is_one_line_too(toy_dir, tmp_path, monkeypatch, capsys) -> None:
    for file, named in ((tmp_path / "none.xml", "No such file"), (tmp_path, "directory")):
        of_file = ("--mal-export", file, "--bundle", toy_dir)
        code, _, complained = rank(monkeypatch, capsys, *of_file)
        assert code == 2
        assert named in complained


def test_a_history_is_given_once(toy_dir, monkeypatch, capsys) -> None:
    both = ("--mal-export", "list.xml", "--history", "3:9", "--bundle", toy_dir)
    code, _, complained = rank(monkeypatch, capsys, *both)
    assert code == 2
    assert "either --history or --mal-export" in complained
