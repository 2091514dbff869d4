"""The page, built with the light graph of the tests' bundle, in a real Chromium."""

import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from handlers.engine.engine import Engine
from tests.docs.tracked import ROOT
from tests.web.light import light_engine

WEB = ROOT / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SOME_TIME_MS = 60_000  # on a machine that others use as well
BELOW = "some/where"  # no page knows at which path it will stand

Build = Callable[[Path, Path], None]


@pytest.fixture(scope="session")
def build() -> Build:
    """Builds the page with a folder `light/`, into another."""
    if shutil.which("node") is None:
        pytest.skip("no node")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("web is not installed: make web")
    if CHROMIUM is None:
        pytest.skip("no chromium")

    def built(light: Path, into: Path) -> None:
        command = ["node", str(WEB / "build.mjs"), str(light), str(into)]
        subprocess.run(command, check=True, capture_output=True, timeout=200)

    return built


@pytest.fixture(scope="session")
def light(build: Build, request: pytest.FixtureRequest) -> Path:
    """A bundle with `light/`; not asked for by name, since it is not made where all is skipped."""
    folder: Path = request.getfixturevalue("personal_bundle").folder
    return folder


@pytest.fixture(scope="session")
def engine(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """What the page should answer as."""
    return light_engine(light, tmp_path_factory.mktemp("light_bundle") / "1")


@pytest.fixture(scope="session")
def built(build: Build, light: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / BELOW
    build(light / "light", folder)
    return folder


@pytest.fixture(scope="module")
def browser(build: Build) -> Iterator[Browser]:
    """Of one module: while it is open, its thread can run no other event loop."""
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # which root cannot have
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield opened
        opened.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[Callable[[Path], str]]:
    """Serves a folder as any file server does; gives the URL of the page in it."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/{BELOW}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def url(built: Path, site: Callable[[Path], str]) -> str:
    return site(built.parents[1])


Open = Callable[..., Page]


@pytest.fixture
def wrong() -> list[str]:
    """What was asked of another address, and errors; there should be none at the end of a test."""
    return []


@pytest.fixture
def opened(browser: Browser, url: str, wrong: list[str]) -> Iterator[Open]:
    """Opens the page as a visitor who has not been there, and waits for its list."""
    contexts = []

    def go(at: str = url, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SOME_TIME_MS)
        page.on(
            "request", lambda asked: None if asked.url.startswith(at) else wrong.append(asked.url)
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(at)
        settled(page)
        return page

    yield go
    for context in contexts:
        context.close()
    assert not wrong


def settled(page: Page) -> None:
    """Wait until the list is that of what was last asked."""
    expect(page.locator("#cards")).not_to_have_attribute("aria-busy", "true", timeout=SOME_TIME_MS)


def give(page: Page, content: bytes, name: str = "list.xml") -> None:
    """Choose a file."""
    file = {"name": name, "mimeType": "", "buffer": content}
    page.locator("#file").set_input_files(file)  # type: ignore[arg-type]
    settled(page)
