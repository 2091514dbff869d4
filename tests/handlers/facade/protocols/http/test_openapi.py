"""The OpenAPI document says what there is, and the page asks nobody else."""

import json
import re
from typing import Any

import jsonschema
import pytest
import requests
from openapi_spec_validator import validate

from handlers.forms.json import form, similar
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store
from tests.handlers.facade.protocols.http.test_methods import CASES

OWN_LIST = (
    "<myanimelist><anime><series_animedb_id>3</series_animedb_id><my_score>9</my_score>"
    "<my_status>Completed</my_status></anime></myanimelist>"
)


@pytest.fixture
def document(served) -> Any:
    answer = requests.get(f"{served.url}/openapi.json", timeout=30)
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def check(instance: Any, schema: Any, document: Any) -> None:
    """Raise where an instance is not of a schema of the document."""
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(instance)


def schemas(document: Any, path: str, media: str = "application/json") -> tuple[Any, Any]:
    """What a path takes, None where it takes no body, and what it answers."""
    [operation] = document["paths"][path].values()
    body = operation.get("requestBody", {"content": {}})["content"].get(media, {}).get("schema")
    return body, operation["responses"]["200"]["content"][media]["schema"]


def test_the_document_is_openapi_3_1_and_lists_every_method(document) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert {path for path, *_ in CASES.values()} < set(document["paths"])


@pytest.mark.parametrize("name", CASES)
def test_requests_and_answers_are_of_their_schemas(name, served, document) -> None:
    path, asked, *_ = CASES[name]
    body, answered = schemas(document, path)
    if body is None:
        reply = requests.get(served.url + path, timeout=30)
    else:
        check(asked, body, document)
        check({**asked, "model_version": "1"}, body, document)
        with pytest.raises(jsonschema.ValidationError):
            check({**asked, "nothing": 1}, body, document)
        reply = requests.post(served.url + path, json=asked, timeout=30)
    assert reply.status_code == 200
    check(reply.json(), answered, document)
    wrong = reply.json()
    wrong["nothing"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(wrong, answered, document)


def test_examples_problems_lines_and_lists_are_of_their_schemas(served, document) -> None:
    problem = document["components"]["schemas"]["Problem"]
    check(requests.get(f"{served.url}/nothing", timeout=30).json(), problem, document)
    for path in ("/v1/rank", "/v1/recommend", "/v1/similar"):
        body, _ = schemas(document, path)
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        check(content["example"], body, document)
        assert requests.post(served.url + path, json=content["example"], timeout=30).ok
        check(requests.post(served.url + path, json=7, timeout=30).json(), problem, document)
    lines = "application/x-ndjson"
    line, answer = schemas(document, "/v1/rank-stream", lines)
    content = document["paths"]["/v1/rank-stream"]["post"]["requestBody"]["content"][lines]
    for each in content["example"].splitlines():
        check(json.loads(each), line, document)
    replies = requests.post(
        f"{served.url}/v1/rank-stream",
        data=content["example"] + '{"id": 3}',
        headers={"content-type": lines},
        timeout=30,
    ).text.splitlines()
    assert len(replies) == 3
    for each in replies:
        check(json.loads(each), answer, document)
    _, answered = schemas(document, "/v1/recommend/mal-export")
    reply = requests.post(
        f"{served.url}/v1/recommend/mal-export?top_k=2",
        data=OWN_LIST,
        headers={"content-type": "application/xml"},
        timeout=30,
    )
    check(reply.json(), answered, document)


def test_histories_are_of_their_schemas(serve, tmp_path) -> None:
    histories, urls = Histories(open_store(str(tmp_path / "histories"), 1)), list[str]()
    serve(histories=histories, http="127.0.0.1:0", http_started=urls.append)
    document = requests.get(f"{urls[0]}/openapi.json", timeout=30).json()
    for path in ("record-watched", "get-history", "forget"):
        body, answered = schemas(document, f"/v1/{path}")
        operation = document["paths"][f"/v1/{path}"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        check(example, body, document)
        with pytest.raises(jsonschema.ValidationError):
            check({"user_id": "77"}, body, document)
        reply = requests.post(f"{urls[0]}/v1/{path}", json=example, timeout=30)
        assert reply.status_code == 200
        check(reply.json(), answered, document)
    asked = {"user_id": 10, "top_k": 1}
    reply = requests.post(f"{urls[0]}/v1/recommend", json=asked, timeout=30)
    assert reply.json()["live_history"] == "none"
    check(reply.json(), schemas(document, "/v1/recommend")[1], document)


def test_every_key_that_is_read_is_in_the_document(document) -> None:
    for path in ("/v1/rank", "/v1/recommend", "/v1/similar"):
        body, _ = schemas(document, path)
        name = body["$ref"].rpartition("/")[2]
        properties = document["components"]["schemas"][name]["properties"]
        keys = {
            "/v1/rank": form.RANK_KEYS,
            "/v1/recommend": form.RECOMMEND_KEYS,
            "/v1/similar": similar.KEYS,
        }[path]
        assert set(properties) == {*keys, "model_version"}


def test_the_page_has_all_it_needs_from_beside_it(served) -> None:
    page = requests.get(f"{served.url}/docs", timeout=30)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"/docs/page.js", "/docs/page.css", "/openapi.json"} <= set(linked)
    for each in linked:
        assert each.startswith(("/", "data:"))
        if each.startswith("/"):
            part = requests.get(served.url + each, timeout=30)
            assert part.status_code == 200
            assert "http://" not in part.text.replace(served.url, "")
            assert "https://" not in part.text
