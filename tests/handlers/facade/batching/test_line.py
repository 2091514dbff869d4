from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from handlers.facade.batching.line import Line


class Entry(NamedTuple):
    caller: str
    number: int


def line_of(callers):
    line: Line[Entry] = Line()
    for number, caller in enumerate(callers):
        line.append(Entry(caller, number))
    return line


def taken(line):
    return "".join(line.popleft().caller for _ in range(len(line)))


def test_callers_take_turns_whatever_each_has_put_in():
    assert taken(line_of("aaaabbc")) == "abcabaa"


def test_a_newcomer_waits_for_one_of_each_other_caller():
    line = line_of("a" * 50 + "b" * 50)
    line.popleft()
    line.append(Entry("c", 100))
    assert [line.popleft().caller for _ in range(3)] == ["b", "a", "c"]


@given(st.text("abc", max_size=30), st.data())
def test_each_caller_is_served_in_order_and_nobody_twice(callers, data):
    line = line_of(callers)
    gone = data.draw(st.sets(st.sampled_from(list(line)))) if callers else set()
    for entry in gone:
        assert line.remove(entry)
        assert not line.remove(entry)
    left = sorted(line)
    out = [line.popleft() for _ in range(len(line))]
    assert sorted(out) == left
    for caller in "abc":
        numbers = [entry.number for entry in out if entry.caller == caller]
        assert numbers == sorted(numbers)
