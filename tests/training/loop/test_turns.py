import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.loop.turns import turns


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
def test_everybody_has_a_turn_before_anybody_has_the_next(users: int, count: int, rounds: int):
    everybody = np.arange(100, 100 + users)
    pieces = [turns(everybody, at, count, 0) for at in range(0, rounds * users, count)]
    assert {len(piece) for piece in pieces} == {count}
    row = np.concatenate(pieces)
    for at in range(0, rounds * users, users):
        np.testing.assert_array_equal(np.sort(row[at : at + users]), everybody)


def test_the_order_is_of_the_seed_and_another_every_time():
    everybody = np.arange(50)
    first, second = turns(everybody, 0, 50, 7), turns(everybody, 50, 50, 7)
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(first, turns(everybody, 0, 50, 7))
    assert first.tolist() != turns(everybody, 0, 50, 8).tolist()
