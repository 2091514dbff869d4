"""The built page is shown as a file server would, and nothing else of the machine is."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from anirank.errors import SettingsError
from handlers.facade.protocols.http import site
from handlers.facade.protocols.http.site import Site
from handlers.facade.settings import Settings
from handlers.security.access import Security
from handlers.security.tokens import Tokens
from tests.handlers.facade.protocols.http.sockets import connected, read_all, status

WASM = bytes(range(256)) * 2_000  # more than one write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "web"
    (made / "assets").mkdir(parents=True)
    (made / "light").mkdir()
    (made / "index.html").write_text("<!doctype html><title>page</title>")
    (made / "assets" / "a-1.js").write_text("export {};")
    (made / "assets" / "b-1.wasm").write_bytes(WASM)
    (made / "assets" / "b-1.wasm.gz").write_bytes(gzip.compress(WASM))
    (made / "light" / "ranker.onnx").write_bytes(b"graph")
    (tmp_path / "secret").write_text("secret")
    return made


@pytest.fixture
def show(serve) -> Callable[..., str]:
    """Shows a folder; gives its URL."""

    def shown(folder: Path, **options) -> str:
        urls: list[str] = []
        serve(http="127.0.0.1:0", http_started=urls.append, site=Site.read(folder), **options)
        return f"{urls[0]}/page"

    return shown


def test_each_file_comes_as_what_it_is(show, folder: Path) -> None:
    url = show(folder)
    for name, kind, cached in (
        ("", "text/html; charset=utf-8", "no-cache"),
        ("index.html", "text/html; charset=utf-8", "no-cache"),
        ("assets/a-1.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("assets/b-1.wasm", "application/wasm", "public, max-age=31536000, immutable"),
        ("light/ranker.onnx", "application/octet-stream", "no-cache"),
    ):
        answer = requests.get(f"{url}/{name}", timeout=20)
        assert answer.status_code == 200
        assert answer.content == (folder / (name or "index.html")).read_bytes()
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] == cached
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        head = requests.head(f"{url}/{name}", timeout=20)
        assert (head.status_code, head.content) == (200, b"")
    moved = requests.get(url, timeout=20, allow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (308, "page/")
    assert requests.get(url, timeout=20).url == f"{url}/"


def test_what_a_browser_has_is_not_sent_again(show, folder: Path) -> None:
    url = f"{show(folder)}/assets/b-1.wasm"
    tags = set()
    for accepted in ("gzip", "identity", "gzip;q=0", "br, gzip;q=0.5"):
        answer = requests.get(url, headers={"accept-encoding": accepted}, timeout=20)
        assert answer.content == WASM
        packed = accepted in ("gzip", "br, gzip;q=0.5")
        assert ("content-encoding" in answer.headers) is packed
        assert answer.headers["vary"] == "accept-encoding"
        tags.add((packed, answer.headers["etag"]))
        known = {"accept-encoding": accepted, "if-none-match": f'"x", {answer.headers["etag"]}'}
        again = requests.get(url, headers=known, timeout=20)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        other = known | {"if-none-match": '"x"'}
        assert requests.get(url, headers=other, timeout=20).status_code == 200
    assert len(tags) == 2


def test_what_is_packed_from_another_file_is_not_sent(show, folder: Path) -> None:
    (folder / "assets" / "b-1.wasm").write_bytes(b"anew")
    url = show(folder)
    assert requests.get(f"{url}/assets/b-1.wasm", timeout=20).content == b"anew"


ELSEWHERE = (
    "../secret",
    "assets/../../secret",
    "%2e%2e/secret",
    "..%2fsecret",
    "..%5csecret",
    "/etc/passwd",
    "%2fetc/passwd",
    "assets/%00",
    "assets",
    "assets/",
    "assets/b-1.wasm.gz",
    "index.html/",
    "../v1/model-info",
)


def test_a_path_reaches_nothing_but_the_files_of_the_folder(show, folder: Path) -> None:
    url = show(folder)
    for path in ELSEWHERE:
        with connected(url) as opened:
            head = f"GET /page/{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            opened.sendall(head.encode())
            reply = read_all(opened)
        assert status(reply) == 404, path
        assert b"secret" not in reply.partition(b"\r\n\r\n")[2].replace(path.encode(), b"")


def test_a_file_that_comes_later_is_not_shown(show, folder: Path) -> None:
    url = show(folder)
    (folder / "late.txt").symlink_to(folder.parent / "secret")
    assert requests.get(f"{url}/late.txt", timeout=20).status_code == 404


def test_nothing_can_be_done_to_the_page(show, folder: Path) -> None:
    url = show(folder)
    for verb in ("POST", "PUT", "DELETE"):
        assert requests.request(verb, f"{url}/index.html", timeout=20).status_code == 405


def test_the_page_is_shown_to_who_has_no_token_and_nothing_else_is(
    show, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("a-token-of-these-tests-0123456789\n")
    file.chmod(0o600)
    url = show(folder, security=Security(tokens=Tokens(file)))
    assert requests.get(f"{url}/", timeout=20).status_code == 200
    for path in ("../v1/model-info", "../pages", "../page-info"):
        assert requests.get(f"{url}/{path}", timeout=20).status_code == 401


def test_without_a_page_there_is_none(serve) -> None:
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append)
    assert requests.get(f"{urls[0]}/page/", timeout=20).status_code == 404


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "inside.html").symlink_to("index.html")
    Site.read(folder)
    for target in ("../../secret", "../..", "/"):
        link = folder / "assets" / "link"
        link.symlink_to(target)
        with pytest.raises(SettingsError, match="link is a link that leads out of it"):
            Site.read(folder)
        link.unlink()


def test_a_folder_that_is_no_page_is_refused(folder: Path, tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(folder / "pipe")  # which would never be read to its end
    Site.read(folder)
    with pytest.raises(SettingsError, match=r"--page .*: has no index\.html; `make web` builds"):
        Site.read(folder / "light")
    with pytest.raises(SettingsError, match="cannot be read"):
        Site.read(tmp_path / "absent")
    monkeypatch.setattr(site, "MOST_FILES", 3)
    with pytest.raises(SettingsError, match="has more than 3 files"):
        Site.read(folder)


def test_a_page_needs_http_to_be_shown_over(folder: Path) -> None:
    with pytest.raises(SettingsError, match="--page: has no HTTP"):
        Settings(page=folder)
