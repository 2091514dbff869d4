"""A list that MyAnimeList exported, over HTTP: ranked by, or refused in one problem."""

import gzip
import zlib

import pytest
import requests

from handlers.forms import mal_export

ENTRY = (
    "<anime><series_animedb_id>{}</series_animedb_id><my_score>{}</my_score>"
    "<my_status>{}</my_status></anime>"
)
LIST = (
    "<myanimelist>"
    + ENTRY.format(3, 9, "Completed")
    + ENTRY.format(9, 0, "Watching")
    + ENTRY.format(12, 0, "Plan to Watch")
    + "</myanimelist>"
).encode()


def upload(served, content: bytes, query: str = "", kind: str = "application/octet-stream"):
    return requests.post(
        f"{served.url}/v1/recommend/mal-export?{query}",
        data=content,
        headers={"content-type": kind},
        timeout=60,
    )


@pytest.mark.parametrize("content", [LIST, gzip.compress(LIST)])
def test_a_list_is_ranked_by_with_reasons(served, content) -> None:
    answer = upload(served, content, "top_k=3&explain=true&objective=affinity")
    assert answer.status_code == 200, answer.text
    history = [{"anime_id": 3, "rating": 9}, {"anime_id": 9}]
    item = {"history": history, "top_k": 3, "explain": True, "objective": "affinity"}
    same = requests.post(f"{served.url}/v1/recommend", json=item, timeout=30).json()
    document = answer.json()
    assert document.pop("list") == {"watched": 2, "rated": 1, "planned": 1, "used": 2}
    assert document == same
    assert any(anime["reasons"] for anime in document["ranking"])


def bomb() -> bytes:
    """Gzip of a little more than is unpacked."""
    packed = zlib.compressobj(9, wbits=31)
    return b"".join(
        [*(packed.compress(b" " * 2**20) for _ in range(33)), packed.flush(zlib.Z_FINISH)]
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<html></html>", "should be 'myanimelist'"),
        (b"no list", "is not XML"),
        (LIST[:-20], "ends in the middle"),
        (gzip.compress(LIST)[:-12], "ends in the middle of its gzip"),
        (b"\x1f\x8bgarbage of a kind", "is damaged gzip"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><myanimelist/>', "declares a document type"),
        (b"<myanimelist></myanimelist>", "of which none was watched"),
        (bomb(), "more than 32 MiB of XML"),
        (gzip.compress(bomb()), "is not text in UTF-8"),
    ],
    ids=[
        "empty",
        "page",
        "text",
        "cut",
        "cut-gzip",
        "damaged",
        "dtd",
        "unwatched",
        "bomb",
        "nested",
    ],
)
def test_a_file_that_is_no_list_is_one_clear_problem(served, content, said) -> None:
    answer = upload(served, content)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["path"] == "body"
    assert said in error["message"]


def test_a_file_larger_than_any_list_is_not_taken_in(served) -> None:
    parts = (b" " * 2**16 for _ in range(mal_export.MOST_BYTES // 2**16 + 16))
    answer = requests.post(
        f"{served.url}/v1/recommend/mal-export",
        data=parts,
        headers={"content-type": "application/xml"},
        timeout=60,
    )
    assert answer.status_code == 413
    assert answer.json()["detail"] == f"the body has more than {mal_export.MOST_BYTES} bytes"


@pytest.mark.parametrize(
    ("query", "path"),
    [("history=1", "history"), ("top_k=2&top_k=3", "top_k"), ("top_k=x", "top_k")],
)
def test_options_of_an_upload_are_checked(served, query, path) -> None:
    answer = upload(served, LIST, query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path
