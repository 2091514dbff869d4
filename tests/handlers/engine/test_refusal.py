import numpy as np
import pytest

from anirank.errors import Fault, InvalidQuery
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Limits, Query
from handlers.engine.refusal import LISTED, LISTED_BYTES, Refusal


def test_a_query_is_refused_with_everything_that_is_wrong_in_it(toy, graph):
    limited = Engine(toy, GraphScorer(toy, graph), Limits(candidates=5, history=4))
    query = Query(
        user_id=2**63,
        candidate_ids=np.arange(6),
        history_ids=np.arange(4),
        history_ratings=np.array([9, 0, np.nan, np.inf], np.float32),
        profile=np.array([4, np.inf], np.float32),
        top_k=0,
    )
    [answer] = limited.rank([query])
    assert isinstance(answer, InvalidQuery)
    assert answer.faults == (
        ("user_id", f"{2**63} is not a 64-bit integer"),
        ("candidate_ids", "6 given, should be 1 to 5"),
        ("top_k", "0 is below 1"),
        ("history[1].rating", "0.0 is outside 1..10"),
        ("history[3].rating", "inf is outside 1..10"),
        ('profile.categories["gender"]', "4.0 is not a code between 0 and 3"),
        ('profile.numbers["days_watched"]', "inf is not a finite number"),
    )
    assert (answer.field, answer.reason) == answer.faults[0]
    assert str(answer).split("; ") == [f"{field}: {reason}" for field, reason in answer.faults]


@pytest.mark.parametrize("count", [1, LISTED, LISTED + 1, 1_000_000])
def test_the_first_faults_are_listed_and_the_rest_counted(count):
    made = []

    def faults():
        for place in range(count):
            made.append(place)
            yield Fault(f"history[{place}].rating", "is wrong")

    refusal = Refusal()
    refusal.extend(count, faults())
    assert len(made) == min(count, LISTED)
    listed = refusal.error().faults
    assert [fault.field for fault in listed[:LISTED]] == [f"history[{i}].rating" for i in made]
    more = {1: [], LISTED: [], LISTED + 1: ["has 1 more fault"]}
    rest = more.get(count, [f"has {count - LISTED} more faults"])
    assert listed[LISTED:] == tuple(Fault("request", reason) for reason in rest)


def test_long_faults_are_listed_as_far_as_they_have_room_and_the_first_always():
    long = Fault("題" * 100, "題" * 100)
    for each, listed in ((long, LISTED_BYTES // 600), (Fault("a", "題" * LISTED_BYTES), 1)):
        refusal = Refusal()
        for _ in range(LISTED):
            refusal.add(*each)
        refusal.add("top_k", "is short, and not listed before others")
        faults = refusal.error().faults
        assert faults == (each,) * listed + (("request", f"has {LISTED + 1 - listed} more faults"),)


def test_a_refusal_of_nothing_is_none():
    refusal = Refusal()
    refusal.check(Query(), (), Limits())
    assert not refusal
