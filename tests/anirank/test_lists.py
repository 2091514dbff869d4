"""`anirank lists`, without Ray."""

import pytest

from tests.anirank.program import anirank


@pytest.fixture
def users(tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("\n".join(map(str, [10, 20, *range(1001, 1013)])))
    return file


def test_unknown_users_are_ranked_for_as_visitors_and_told(toy_dir, users, tmp_path):
    asked = ("lists", toy_dir, tmp_path / "lists", "--users", users, "--local", "--block", "5")
    done = anirank(*asked)
    assert done.returncode == 0, done.stderr
    named = ", ".join(map(str, range(1001, 1011)))
    assert done.stdout == (
        f"{tmp_path}/lists: 14 users in 3 files\n"
        f"not known to the bundle, ranked for as visitors: 12 ({named}, …)\n"
    )
    again = anirank(*asked)
    assert again.stdout.startswith(
        f"{tmp_path}/lists: 14 users in 3 files, 3 of them there before\n"
    )


def test_unknown_users_are_left_out_on_request(toy_dir, users, tmp_path):
    done = anirank(
        *("lists", toy_dir, tmp_path / "lists", "--users", users, "--local", "--skip-unknown")
    )
    assert done.stdout.startswith(
        f"{tmp_path}/lists: 2 users in 1 file\nnot known to the bundle, left out: 12 (1001, "
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent", "lists"), "absent/manifest.json: cannot be read"),
        (("TOY", "lists", "--users", "absent.csv"), "absent.csv: cannot be read"),
        (("TOY", "TOY"), "holds "),
        (("TOY", "lists", "--trust", "absent.pem"), "absent.pem: "),
        (("TOY", "lists", "--workers", "2"), "--local takes neither"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(toy_dir, arguments, said):
    done = anirank("lists", *(toy_dir if each == "TOY" else each for each in arguments), "--local")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("anirank: ")
    assert said in last
    assert "Traceback" not in done.stderr
