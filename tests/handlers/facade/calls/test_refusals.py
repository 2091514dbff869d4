from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2

from anirank.client.failures import error_of_call
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import (
    InvalidQuery,
    ServingError,
)
from handlers.local import LocalRanker
from tests.running.calls import status_of_call

UNKNOWN: Any = 9  # an objective that there is not


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        ({}, "candidate_ids", "0 given, should be 1 to 100"),
        ({"candidate_ids": range(101)}, "candidate_ids", "101 given"),
        ({"history": {3: 11}}, "history[0].rating", "11.0 is outside 1..10"),
        ({"history": {3: None, 6: 0}}, "history[1].rating", "0.0 is outside 1..10"),
        ({"history": {3: 9, 6: float("nan")}}, "history[1].rating", "nan is outside 1..10"),
        ({"history": {3: float("inf")}}, "history[0].rating", "inf is outside 1..10"),
        ({"history": dict.fromkeys(range(21))}, "history", "21 given"),
        ({"profile": {"gender": "male"}}, 'profile.categories["gender"]', "'Female', 'Male'"),
        ({"filter": {"genres": {"any": ["Acton"]}}}, "filter.genres.any[0]", "'Action' is near"),
        ({"filter": {"types": {"all": ["TV"] * 101}}}, "filter.types.all", "101 given"),
        ({"filter": {"without_ids": range(5_001)}}, "filter.without_ids", "5001 given"),
        ({"filter": {"only_ids": range(5_001)}}, "filter.only_ids", "5001 given"),
        ({"filter": {"years": {"min": 2000}}}, "filter.years", "holds nothing of them"),
        ({"profile": {"gender": "題" * 2_000}}, 'profile.categories["gender"]', "題…"),
        ({"profile": {"gender": 1}}, 'profile.numbers["gender"]', "known are days_watched"),
        ({"profile": {"age": "x"}}, 'profile.categories["age"]', "known are gender"),
        (
            {"profile": {"days_watched": float("inf")}},
            'profile.numbers["days_watched"]',
            "not a finite number",
        ),
    ],
)
def test_a_bad_request_names_the_field_and_what_would_be_right(client, request_, field, reason):
    candidates = {} if field == "candidate_ids" else {"candidate_ids": [3]}
    with pytest.raises(InvalidQuery) as caught:
        client.rank(**{"candidate_ids": [], **candidates, **request_})
    assert caught.value.field == field
    assert reason in caught.value.reason


WRONG = pb.RankRequest(
    history=[pb.HistoryItem(anime_id=3, rating=rating) for rating in (9, 11, 0)],
    profile=pb.Profile(numbers={"days_watched": float("inf"), "age": 3}, categories={"gender": ""}),
    objective=UNKNOWN,
)

WRONG_FIELDS = [
    *("candidate_ids", "history[1].rating", "history[2].rating"),
    *('profile.numbers["days_watched"]', 'profile.numbers["age"]', 'profile.categories["gender"]'),
    "objective",
]


def test_a_bad_request_carries_field_violations_any_client_can_read(channel):
    with pytest.raises(grpc.RpcError) as caught:
        RankingServiceStub(channel).Rank(WRONG)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "candidate_ids: 0 given, should be 1 to 100; and more, which the details list"
    )
    [detail] = status_of_call(caught.value).details
    bad = error_details_pb2.BadRequest()
    assert detail.Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == WRONG_FIELDS


def test_a_client_is_told_everything_that_is_wrong(client, toy_dir):
    with pytest.raises(InvalidQuery) as here:
        LocalRanker(toy_dir).answer(WRONG)
    with pytest.raises(InvalidQuery) as caught:
        client.answer(WRONG)
    [(_, outcome)] = client.stream([WRONG])
    assert [fault.field for fault in caught.value.faults] == WRONG_FIELDS
    assert caught.value.faults[1:] == here.value.faults[1:]  # the limits of the first differ
    assert outcome.faults == caught.value.faults


def test_a_recommendation_too_is_refused_with_everything_that_is_wrong(client):
    wrong = pb.RecommendRequest(
        history=WRONG.history, profile=WRONG.profile, objective=WRONG.objective
    )
    with pytest.raises(InvalidQuery) as caught:
        client.answer(wrong)
    assert [fault.field for fault in caught.value.faults] == WRONG_FIELDS[1:]


@pytest.mark.parametrize("letter", ["a", "題", "\U0001f98a"])
def test_the_faults_of_a_request_fit_the_metadata_of_a_call_whatever_its_words(channel, letter):
    numbers = {letter * 95 + f"{i:05}": 1.0 for i in range(23)}
    with pytest.raises(grpc.RpcError) as caught:
        RankingServiceStub(channel).Recommend(
            pb.RecommendRequest(profile=pb.Profile(numbers=numbers))
        )
    error = error_of_call(caught.value)
    assert isinstance(error, InvalidQuery)
    *listed, last = error.faults
    assert 5 < len(listed) <= 20
    assert {fault.field for fault in listed} <= {f'profile.numbers["{name}"]' for name in numbers}
    assert last == ("request", f"has {23 - len(listed)} more faults")
    message = quote(caught.value.details() or "")  # as gRPC writes it
    trailing: Any = caught.value.trailing_metadata()
    sent = [*trailing, ("grpc-message", message)]
    assert sum(len(name) + len(value) * 4 / 3 + 32 for name, value in sent) < 8 * 1024


def test_a_message_too_large_is_refused_and_the_next_is_answered(client):
    with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
        client.rank(range(2**60, 2**60 + 20_000))
    assert len(client.rank([3]).ranking) == 1
