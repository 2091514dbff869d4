import pytest

from tests.docs.shown import scores, shaper

SHAPE = shaper(["Kin'iro no Umi", "Umi", '"Neko" Ryuu!', "Drama", "Sci-Fi"], [1, 5, 20])

TABLE = """For user 20
┏━━━━━━┳━━━━━━━━━┳━━━━━━━┓
┃ rank ┃ title   ┃ score ┃
┡━━━━━━╇━━━━━━━━━╇━━━━━━━┩
│    1 │ Kin'iro │  8.25 │
│      │ no Umi  │       │
└──────┴─────────┴───────┘"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 Kin'iro no Umi 8.25", "1 Umi 10.0"),
        ('{"Kin\'iro no Umi": 8.25}', "{'\"Neko\" Ryuu!': 7.5}"),
        ("[ 1 20  5] [0.5   0.25  0.   ]", "[20  1 5] [0.125 1. 0.]"),
        ("Umi: 0.5\n  0.1 for Umi\n  0.1 for Drama, Sci-Fi", "Umi: 0.5\n  0.1 for Drama"),
        (TABLE, TABLE.replace("Kin'iro", "Umi    ").replace("│      │ no Umi  │       │\n", "")),
    ],
)
def test_what_training_decides_may_be_another(one: str, other: str) -> None:
    assert SHAPE(one) == SHAPE(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("25000", "2500"),
        ("[1 5 20]", "[1 5]"),
        ("Umi 8.25\nUmi 7.25", "Umi 8.25"),
        ("Umi 8.25", "8.25 Umi"),
        ("Umi", "Kaze"),
        (TABLE, TABLE.replace("score", "stars")),
        (TABLE, TABLE.replace(" 8.25", "     ")),
        (TABLE, "\n".join(line for line in TABLE.splitlines() if "│" not in line)),
        ("", "Umi 8.25"),
    ],
)
def test_all_else_has_to_be_the_same(one: str, other: str) -> None:
    assert SHAPE(one) != SHAPE(other)


def test_scores_are_the_numbers_with_a_point() -> None:
    assert scores("1 Umi 8.25\n5 Umi 8.25\n20 Umi -1.5e-07") == {"8.25", "-1.5e-07"}
