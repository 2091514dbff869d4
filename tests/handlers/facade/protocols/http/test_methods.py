"""One request has one answer, over gRPC and HTTP, by the client and the command line."""

import json
import re
from typing import Any

import pytest
import requests
from google.protobuf.message import Message

from anirank.cli.app import main
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import Limits

HISTORY = {3: 9.0, 6: None, 9: 2.5}
WATCHED = [{"anime_id": 3, "rating": 9}, {"anime_id": 6}, {"anime_id": 9, "rating": 2.5}]
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    # By name: the path, its JSON, the client's arguments, and those of the command line.
    "rank": (
        "/v1/rank",
        {
            "candidate_ids": [12, 15, 7, 18, 12],
            "user_id": 10,
            "history": WATCHED,
            "top_k": 10,
            "profile": {"gender": "Male", "days_watched": 2.5},
            "objective": "affinity",
        },
        {
            "candidate_ids": [12, 15, 7, 18, 12],
            "user_id": 10,
            "history": HISTORY,
            "top_k": 10,
            "profile": {"gender": "Male", "days_watched": 2.5},
            "objective": "AFFINITY",
        },
        ["rank", "--candidates", "12,15,7,18,12", "--user", "10", "--history", "3:9,6,9:2.5"],
    ),
    "recommend": (
        "/v1/recommend",
        {
            "history": WATCHED,
            "top_k": 5,
            "explain": True,
            "filter": {"genres": {"any": ["Action"]}, "without_ids": [12]},
        },
        {
            "history": HISTORY,
            "top_k": 5,
            "explain": True,
            "filter": {"genres": {"any": ["Action"]}, "without_ids": [12]},
        },
        [
            *("rank", "--history", "3:9,6,9:2.5", "--top", "5", "--explain"),
            *("--with", "genres=Action", "--without-ids", "12"),
        ],
    ),
    "similar": (
        "/v1/similar",
        {"anime_ids": [3, 7], "top_k": 4, "likeness": "crosses", "include_adult": True},
        {"anime_ids": [3, 7], "top_k": 4, "likeness": "CROSSES", "include_adult": True},
        ["similar", "3,7", "--top", "4", "--by", "crosses", "--include-adult"],
    ),
    "model_info": ("/v1/model-info", {}, {}, ["info"]),
}
# Times are another each time, and stand in a header over HTTP.
NOT_COMPARED = {"queue_time", "compute_time"}


def in_json(message: Message) -> Any:
    """A message of the contract as HTTP's JSON should have it, field by field."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        return {key: in_json_value(value) for key, value in message.items()}  # type: ignore[attr-defined]
    if isinstance(message, pb.Reason):
        of = {"genre": message.genre} if message.HasField("genre") else in_json(message.anime)
        return {**of, "contribution": message.contribution}
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.name in NOT_COMPARED or (field.has_presence and not message.HasField(field.name)):
            continue
        if field.name == "reasons" and not message.HasField("rest"):
            continue
        if field.name == "live_history" and not value:
            continue
        found[field.name] = (
            [told(field, each) for each in value] if field.is_repeated else told(field, value)
        )
    return found


def in_json_value(value: Any) -> Any:
    return in_json(value) if isinstance(value, Message) else value


def told(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name.partition("_")[2].lower()
    return in_json(value) if field.message_type is not None else value


@pytest.mark.parametrize("name", CASES)
def test_every_method_has_one_answer_whichever_way_it_is_asked(
    name, served, monkeypatch, capsys
) -> None:
    address, url = served
    path, document, options, arguments = CASES[name]
    with Client(address, timeout_s=30) as client:
        reply = getattr(client, name)(**options)  # which is a call over gRPC
    asked = requests.post(url + path, json=document, timeout=30) if document else None
    answer = asked or requests.get(url + path, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.json() == in_json(reply)
    monkeypatch.setattr("sys.argv", ["anirank", *arguments, "--address", address])
    if name == "model_info":
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert json.loads(capsys.readouterr().out) == answer.json()
        return
    assert re.fullmatch(r"queue;dur=[\d.]+, compute;dur=[\d.]+", answer.headers["server-timing"])
    if name == "rank":  # which the command line has no options for
        for key in ("profile", "objective"):
            del document[key]
        answer = requests.post(url + path, json=document, timeout=30)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = re.findall(r"^│ +\d+ │ +(\d+) │", capsys.readouterr().out, re.MULTILINE)
    assert shown == [str(anime["anime_id"]) for anime in answer.json()["ranking"]]


def test_a_stream_of_lines_answers_what_single_calls_do(served) -> None:
    address, url = served
    lines = [
        {"id": 70, "rank": {"candidate_ids": [12, 15, 7], "history": WATCHED}},
        {"id": 71, "recommend": {"user_id": 10, "top_k": 2}, "timeout": 20},
        {"id": 72, "rank": {"candidate_ids": [12], "top_k": -1}},
        {"id": 73, "rank": {"candidate_ids": [12]}, "timeout": 0},
        {"recommend": {"top_k": 1}},
        {"id": 74},
    ]
    answer = requests.post(
        f"{url}/v1/rank-stream",
        data="\n".join([*map(json.dumps, lines), "", "{nothing"]),
        headers={"content-type": "application/x-ndjson"},
        timeout=30,
    )
    assert answer.status_code == 200
    found = {each["id"]: each for each in map(json.loads, answer.text.splitlines())}
    assert sorted(found) == [4, 7, 70, 71, 72, 73, 74]
    with Client(address, timeout_s=30) as client:
        first = client.rank([12, 15, 7], history=HISTORY)
        second = client.recommend(user_id=10, top_k=2)
        with pytest.raises(InvalidQuery) as refused:
            client.rank([12], top_k=0, history={1: 11})
    assert refused.value.field == "history[0].rating"
    assert found[70]["reply"] == in_json(first)
    assert found[71]["reply"] == in_json(second)
    assert found[72]["status"]["errors"] == [{"path": "top_k", "message": "-1 is below 1"}]
    assert found[73]["status"]["code"] == "DEADLINE_EXCEEDED"
    assert len(found[4]["reply"]["ranking"]) == 1
    assert found[74]["status"]["errors"][0]["path"] == "request"
    assert found[7]["status"]["errors"][0]["path"] == "body"


def test_a_fault_has_the_same_paths_over_http_as_over_grpc(served) -> None:
    address, url = served
    with Client(address, timeout_s=30) as client, pytest.raises(InvalidQuery) as refused:
        client.rank([], history={5: 11.0, 6: 0.0}, profile={"days_watched": float("inf")})
    answer = requests.post(
        f"{url}/v1/rank",
        data='{"candidate_ids": [], "history": [{"anime_id": 5, "rating": 11}, {"anime_id": 6, '
        '"rating": 0}], "profile": {"days_watched": Infinity}}',
        headers={"content-type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["title"], problem["status"]) == ("Bad Request", 400)
    assert problem["code"] == "INVALID_ARGUMENT"
    paths = {
        fault.field.replace('numbers["', "").replace('"]', "") for fault in refused.value.faults
    }
    assert {each["path"] for each in problem["errors"]} == paths
    assert problem["detail"].startswith(problem["errors"][0]["path"])


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"candidate_ids": [3], "include_seen": True}, "include_seen"),
        ({"candidate_ids": [3], "model_version": "9"}, "model_version"),
        ({"candidate_ids": [3], "model_version": 1}, "model_version"),
        ({"candidate_ids": "3"}, "candidate_ids"),
        ({}, "candidate_ids"),
        ([], "request"),
    ],
)
def test_what_is_wrong_in_a_request_is_named(served, given, path) -> None:
    answer = requests.post(f"{served[1]}/v1/rank", json=given, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path


def test_a_version_of_the_model_can_be_named(served) -> None:
    url = served[1]
    item = {"candidate_ids": [3], "model_version": "1"}
    assert requests.post(f"{url}/v1/rank", json=item, timeout=30).json()["model_version"] == "1"
    told = requests.get(f"{url}/v1/model-info?model_version=1", timeout=30)
    assert told.json()["version"] == "1"
    missing = requests.get(f"{url}/v1/model-info?model_version=2", timeout=30)
    assert missing.json()["errors"][0]["path"] == "model_version"


def test_limits_hold_over_http(serve) -> None:
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append, limits=Limits(candidates=3))
    item = {"candidate_ids": [3, 6, 9, 12]}
    answer = requests.post(f"{urls[0]}/v1/rank", json=item, timeout=30)
    assert answer.json()["errors"] == [
        {"path": "candidate_ids", "message": "4 given, should be 1 to 3"}
    ]
