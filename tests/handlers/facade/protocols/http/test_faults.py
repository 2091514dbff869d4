"""Who means harm over HTTP is bounded, and told why in a problem."""

import contextlib
import json
import time
from pathlib import Path

import pytest
import requests

from handlers.facade import capacity
from handlers.security.access import Security
from tests.handlers.facade.protocols.http.sockets import connected, read_all, status

TOKEN = "a-token-of-these-tests-0123456789"
ITEM = b'{"candidate_ids":[3]}'


def raw(url: str, content: bytes) -> bytes:
    with connected(url) as opened:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            opened.sendall(content)
        return read_all(opened)


def still_well(url: str) -> None:
    answer = requests.post(f"{url}/v1/rank", json={"candidate_ids": [3]}, timeout=20)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/ra",
        b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\nGET /readyz HTTP/1.1\r\nx-slow: ",
    ],
)
def test_a_head_that_never_ends_is_let_go(served, monkeypatch, sent) -> None:
    monkeypatch.setattr(capacity, "FIRST_MESSAGE_S", 0.3)
    monkeypatch.setattr(capacity, "IDLE_HTTP_S", 1)
    with connected(served.url) as opened:
        opened.sendall(sent)
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < 1 and sent:
                opened.sendall(b"x")
                time.sleep(0.1)
        reply = read_all(opened)
    assert time.monotonic() - began < 8
    if sent.startswith(b"POST"):
        assert status(reply) == 408
        assert b"application/problem+json" in reply
    still_well(served.url)


def test_a_body_that_never_ends_is_let_go(served, monkeypatch) -> None:
    head = b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    with connected(served.url) as opened:
        opened.sendall(head + b"content-length: 100\r\n\r\n{")
        began = time.monotonic()
        reply = read_all(opened)
    assert capacity.FIRST_MESSAGE_S - 1 < time.monotonic() - began < capacity.FIRST_MESSAGE_S + 5
    assert status(reply) == 408
    assert b'"code":"DEADLINE_EXCEEDED"' in reply
    still_well(served.url)


@pytest.mark.parametrize(
    "head",
    [
        b"x-long: " + b"a" * 20_000 + b"\r\n",
        b"".join(b"x-%d: a\r\n" % i for i in range(200)),
        b"x-endless: " + b"a" * 300_000,
    ],
    ids=["long", "many", "endless"],
)
def test_a_head_that_is_too_large_is_refused(served, head) -> None:
    reply = raw(served.url, b"GET /readyz HTTP/1.1\r\nhost: a\r\n" + head + b"\r\n")
    assert not reply or status(reply) == 431  # a reset may overtake it
    if len(head) < 50_000:
        assert status(reply) == 431
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["code"] == "RESOURCE_EXHAUSTED"
    still_well(served.url)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(served, chunked) -> None:
    content = b" " * 2_000_000
    answer = requests.post(
        f"{served.url}/v1/rank",
        data=iter([content[:1_000_000], content[1_000_000:]]) if chunked else content,
        headers={"content-type": "application/json"},
        timeout=20,
    )
    assert answer.status_code == 413
    assert answer.json()["title"] == "Request Entity Too Large" or answer.json()["status"] == 413
    still_well(served.url)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b'{"candidate_ids": [\xff]}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"candidate_ids": [' + b"9" * 5_000 + b"]}", "is not JSON"),
        (b'{"candidate_ids": [' + b"9" * 30 + b"]}", "is not a 64-bit integer"),
        (b'"\\ud800"', "is not a JSON object"),
    ],
    ids=["cut", "utf-16", "bytes", "deep", "digits", "large", "surrogate"],
)
def test_json_from_anybody_is_a_problem_at_most(served, content, said) -> None:
    answer = requests.post(
        f"{served.url}/v1/rank",
        data=content,
        headers={"content-type": "application/json"},
        timeout=20,
    )
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


HEAD = b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"content-length: 21\r\ntransfer-encoding: chunked\r\n\r\n",
        HEAD + b"content-length: 21\r\ncontent-length: 22\r\n\r\n",
        HEAD + b"content-length: +21\r\n\r\n",
        HEAD + b"transfer-encoding: identity, chunked, identity\r\n\r\n",
        HEAD + b"transfer-encoding : chunked\r\n\r\n",
        HEAD + b"content-length: 21\n\n",
        b"POST /v1/rank HTTP/1.1\r\n content-length: 21\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"nothing at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_two_servers_could_read_two_ways_is_refused(served, head) -> None:
    smuggled = b"GET /v1/model-info HTTP/1.1\r\nhost: a\r\n\r\n"
    reply = raw(served.url, head + ITEM + smuggled)
    assert status(reply) in (400, 404, 405)
    assert b"200 OK" not in reply
    assert b"connection: close" in reply.lower() or status(reply) != 400
    still_well(served.url)


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/%2e%2e/etc/passwd", "/docs/../../x", "/v1/rank/", "/v2/models/.."]
)
def test_there_is_nothing_but_what_is_there(served, path) -> None:
    reply = raw(served.url, f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    assert status(reply) == 404


def test_connections_of_one_address_are_bounded(serve, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "CONNECTIONS", 8)
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connected(urls[0])) for _ in range(6)]
        time.sleep(0.2)
        gone = 0
        for each in opened:
            each.settimeout(0.2)
            try:
                gone += not each.recv(1)
            except ConnectionResetError:
                gone += 1
            except TimeoutError:
                pass
        assert gone == 2
    still_well(urls[0])


def test_a_caller_who_leaves_is_not_computed_for(serve) -> None:
    """The request is cancelled, and its place is free."""
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append)
    for _ in range(20):
        with connected(urls[0]) as opened:
            length = b"content-length: %d\r\n\r\n" % len(ITEM)
            opened.sendall(HEAD + length + ITEM)
    still_well(urls[0])


def test_a_timeout_that_has_passed_is_told(served) -> None:
    for timeout, code in (("0m", 504), ("soon", 400), ("20S", 200)):
        answer = requests.post(
            f"{served.url}/v1/recommend", json={}, headers={"grpc-timeout": timeout}, timeout=20
        )
        assert answer.status_code == code, answer.text


@pytest.fixture
def secured(serve, tmp_path: Path) -> str:
    (tmp_path / "tokens").touch(0o600)
    (tmp_path / "tokens").write_text(f"{TOKEN}\n")
    urls: list[str] = []
    security = Security.from_files(tokens=tmp_path / "tokens")
    serve(http="127.0.0.1:0", http_started=urls.append, security=security)
    return urls[0]


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"bearer {TOKEN}"}, 200),
    ],
)
def test_who_shows_no_token_is_not_answered(secured, shown, code) -> None:
    answer = requests.post(
        f"{secured}/v1/rank", json={"candidate_ids": [3]}, headers=shown, timeout=20
    )
    assert answer.status_code == code
    if code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] == "UNAUTHENTICATED"
    for path in ("/v1/model-info", "/v2", "/v2/models/toy", "/nothing"):
        reply = requests.get(secured + path, headers=shown, timeout=20)
        assert (reply.status_code == 401) == (code == 401)
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs"):
        assert requests.get(secured + path, timeout=20).status_code == 200
