import json

import numpy as np
import pytest

from anirank.errors import InvalidQuery
from handlers.engine.query import RECOMMENDED, Limits, Objective, Query
from handlers.filters.filter import Range, Values
from handlers.forms.json.form import read_query, write_ranking
from handlers.torchserve.body import Body

WHOLE = {
    "user_id": 366396,
    "candidate_ids": [1, 5],
    "history": [{"anime_id": 1, "rating": 9}, {"anime_id": 5}],
    "profile": {"gender": "Male", "days_watched": 12.5},
    "top_k": 3,
    "objective": "affinity",
    "include_seen": True,
    "include_adult": True,
    "explain": True,
    "filter": {
        "genres": {"any": ["Action"], "none": ["Ecchi", "Horror"]},
        "years": {"min": 2000},
        "without_ids": [1],
        "only_ids": [],
    },
    "diversity": 0.25,
}


def test_every_key_finds_its_place(toy):
    query = read_query(WHOLE, toy.manifest.profile, Limits())
    assert query.user_id == 366396
    assert query.candidate_ids is not None
    assert query.candidate_ids.tolist() == [1, 5]
    assert query.history_ids.tolist() == [1, 5]
    np.testing.assert_array_equal(query.history_ratings, [9, np.nan])
    np.testing.assert_array_equal(query.profile, [2, 12.5])
    assert query.top_k == 3
    assert query.objective is Objective.AFFINITY
    assert query.include_seen
    assert query.include_adult
    assert query.explain
    assert query.filter is not None
    assert query.filter.genres == Values(any=("Action",), none=("Ecchi", "Horror"))
    assert query.filter.years == Range(min=2000)
    assert query.filter.without_ids.tolist() == [1]
    assert query.filter.only_ids is not None
    assert not len(query.filter.only_ids)
    assert query.diversity == 0.25


def test_an_empty_object_asks_for_ten_of_the_catalogue(toy):
    query = read_query({}, toy.manifest.profile, Limits())
    assert query.candidate_ids is None
    assert query.user_id is None
    assert query.top_k == RECOMMENDED
    assert query.objective is Objective.BLENDED


def test_candidates_are_all_ranked_unless_fewer_are_wanted(toy):
    assert read_query({"candidate_ids": [1]}, toy.manifest.profile, Limits()).top_k is None


@pytest.mark.parametrize(
    ("item", "field", "reason"),
    [
        ([], "request", "not a JSON object"),
        ({"user": 1}, "user", "known are user_id, candidate_ids"),
        ({"user_id": "1"}, "user_id", "'1' is not a 64-bit integer"),
        ({"user_id": True}, "user_id", "True is not a 64-bit integer"),
        ({"user_id": 2**63}, "user_id", "is not a 64-bit integer"),
        ({"candidate_ids": [1, 2, 3, 1.5]}, "candidate_ids[3]", "1.5 is not a 64-bit integer"),
        ({"candidate_ids": None}, "candidate_ids", "None is not a list"),
        ({"candidate_ids": [10**5_000]}, "candidate_ids[0]", "an enormous number is not"),
        ({"history": {}}, "history", "not a list"),
        ({"history": [{}]}, "history[0].anime_id", "missing"),
        ({"history": [1]}, "history[0]", "1 is not a JSON object"),
        ({"history": [{"anime_id": 1, "score": 3}]}, "history[0].score", "known are anime_id"),
        ({"history": [{"anime_id": 1, "rating": 11}]}, "history[0].rating", "11 is outside 1..10"),
        ({"history": [{"anime_id": 1, "rating": "9"}]}, "history[0].rating", "not a number"),
        ({"history": [{"anime_id": 1, "rating": float("nan")}]}, "history[0].rating", "outside"),
        ({"profile": {"gender": "male"}}, "profile.gender", "'Female', 'Male', 'unknown'"),
        ({"profile": {"days_watched": 1e400}}, "profile.days_watched", "not a finite number"),
        ({"profile": {"days_watched": 10**400}}, "profile.days_watched", "not a finite number"),
        ({"profile": {"age": 3}}, "profile.age", "known are gender, days_watched"),
        ({"top_k": 1.0}, "top_k", "1.0 is not a 64-bit integer"),
        ({"objective": "best"}, "objective", "not one of rating, affinity, blended"),
        ({"include_seen": 1}, "include_seen", "1 is not true or false"),
        ({"explain": "yes"}, "explain", "'yes' is not true or false"),
        ({"diversity": "0.5"}, "diversity", "'0.5' is not a finite number"),
        ({"diversity": 10**5_000}, "diversity", "an enormous number is not a finite number"),
        ({"filter": []}, "filter", "[] is not a JSON object"),
        ({"filter": {"genre": {}}}, "filter.genre", "known are genres, types, studios"),
        ({"filter": {"genres": ["Action"]}}, "filter.genres", "not a JSON object"),
        ({"filter": {"genres": {"some": []}}}, "filter.genres.some", "known are any, all, none"),
        ({"filter": {"genres": {"any": "Action"}}}, "filter.genres.any", "'Action' is not a list"),
        ({"filter": {"types": {"any": ["TV", 1]}}}, "filter.types.any[1]", "1 is not text"),
        ({"filter": {"types": {"all": ["TV"] * 101}}}, "filter.types.all", "should be 0 to 100"),
        ({"filter": {"years": {"min": 2e3}}}, "filter.years.min", "is not a 64-bit integer"),
        ({"filter": {"years": {"from": 1}}}, "filter.years.from", "known are min, max"),
        ({"filter": {"without_ids": [1, "2"]}}, "filter.without_ids[1]", "'2' is not a 64-bit"),
        ({"filter": {"only_ids": [1] * 5_001}}, "filter.only_ids", "should be 0 to 5000"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(toy, item, field, reason):
    with pytest.raises(InvalidQuery) as caught:
        read_query(item, toy.manifest.profile, Limits())
    assert len(caught.value.faults) == 1
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert len(caught.value.reason) < 200


def test_everything_that_is_wrong_is_named(toy):
    item = {
        "user": 1,
        "users": 2,
        "user_id": "1",
        "candidate_ids": [1, "2", 3, None],
        "history": [1, {"rating": 11}, {"anime_id": 3, "score": 1}, {"anime_id": 3, "rating": 9}],
        "profile": {"gender": "male", "age": 3},
        "top_k": 0,
        "objective": "best",
        "explain": 1,
    }
    [found] = Body(item, toy, Limits()).items
    assert isinstance(found, InvalidQuery)
    assert [fault.field for fault in found.faults] == [
        *("user", "users", "candidate_ids[1]", "candidate_ids[3]"),
        *("history[0]", "history[1].anime_id", "history[1].rating", "history[2].score"),
        *("user_id", "profile.age", "profile.gender", "objective", "explain", "top_k"),
    ]
    document = json.loads(Body(item, toy, Limits()).write([found]))["error"]
    assert document["field"] == "user"
    assert [tuple(fault.values()) for fault in document["faults"]] == list(found.faults)


@pytest.mark.parametrize(
    ("item", "field", "count"),
    [
        ({"candidate_ids": [None] * 100}, "candidate_ids[0]", 100),
        ({"candidate_ids": [None] * 101}, "candidate_ids", 1),
        ({"history": [None] * 50}, "history[0]", 50),
        ({"history": [None] * 51}, "history", 1),
        ({str(i): i for i in range(10**5)}, "0", 10**5),
        ({"profile": {str(i): i for i in range(10**5)}}, "profile.0", 10**5),
    ],
)
def test_of_very_many_faults_the_first_are_listed_and_the_rest_counted(toy, item, field, count):
    with pytest.raises(InvalidQuery) as caught:
        read_query(item, toy.manifest.profile, Limits(candidates=100, history=50))
    assert caught.value.field == field
    if count > 1:
        assert caught.value.faults[20:] == (("request", f"has {count - 20} more faults"),)
    else:
        assert len(caught.value.faults) == 1


def test_a_ranking_is_written_with_titles_and_every_digit(toy, engine):
    [ranking] = engine.rank([Query(user_id=10, candidate_ids=np.array([9, 3, 4]))])
    document = json.loads(json.dumps(write_ranking(ranking, toy)))
    assert [entry["anime_id"] for entry in document["ranking"]] == ranking.anime_ids.tolist()
    assert [np.float32(entry["score"]) for entry in document["ranking"]] == ranking.scores.tolist()
    assert {(entry["title"], entry["genres"]) for entry in document["ranking"]} == {
        ("Title 3 ・ 題", "Action"),
        ("Title 9 ・ 題", "Action, Sci-Fi"),
    }
    assert document["unknown_candidates"] == [4]
    assert document["unknown_history"] == []
    assert document["familiarity"] == "known"
    assert document["history_size"] == len(toy.histories.of(10)[0])
    assert document["model_version"] == "1"
    assert not {"reasons", "rest"} & document["ranking"][0].keys()


def test_reasons_are_written_by_their_names_and_add_up_to_the_wide_score(toy, engine):
    ratings = np.array([9, 8, np.nan], np.float32)
    query = Query(history_ids=np.array([3, 6, 9]), history_ratings=ratings, explain=True)
    [ranking] = engine.rank([query])
    document = json.loads(json.dumps(write_ranking(ranking, toy)))
    kinds = set()
    for entry in document["ranking"]:
        added = [reason["contribution"] for reason in entry["reasons"]]
        assert added == sorted(added, reverse=True)
        assert sum(added) + entry["rest"] == entry["wide"]
        kinds |= {tuple(reason) for reason in entry["reasons"]}
        for reason in entry["reasons"]:
            if reason.get("anime_id") == 3:
                assert (reason["title"], reason["rating"]) == ("Title 3 ・ 題", 9)
            if "genre" in reason:
                row = toy.catalogue.rows(np.array([entry["anime_id"]]))[0]
                assert reason["genre"] in toy.catalogue.genres[row]
    assert kinds == {
        ("anime_id", "title", "rating", "contribution"),
        ("anime_id", "title", "contribution"),
        ("genre", "contribution"),
    }


@pytest.mark.parametrize(
    "content", [b"", b"{", "nonsense", b"\xff\xfe", b"[" * 100_000, 5, None, b"\0" * 16]
)
def test_a_body_that_is_nothing_we_read_is_one_item_that_is_wrong(toy, content):
    [item] = Body(content, toy, Limits()).items
    assert isinstance(item, InvalidQuery)


def test_an_object_is_answered_by_an_object_and_a_list_by_a_list(toy, engine):
    for content, kind in ((b"{}", dict), (b"[{}]", list), ([{}, {}], list), ("{}", dict)):
        body = Body(content, toy, engine.limits)
        assert isinstance(json.loads(body.write(engine.rank(body.items))), kind)
    assert Body([], toy, engine.limits).write([]) == b"[]"
