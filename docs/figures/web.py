"""Draws the picture of docs/web.md, and says how large the page is and how long it takes.

python docs/figures/web.py build/web docs/figures/web.png
"""

import argparse
import functools
import gzip
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

WATCHED = 100  # of what many begin with
RATINGS = (9, 8, 10, 7, 8, 6, 9, 7)
ENTRY = (
    "<anime><series_animedb_id>{}</series_animedb_id><my_score>{}</my_score>"
    "<my_status>Completed</my_status></anime>"
)
WIDTH, HEIGHT = 1400, 900  # pixels
PATIENCE_MS = 120_000


def main() -> None:
    """Open the page, give it a list, and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("built", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    weigh(options.built)
    serve = functools.partial(SimpleHTTPRequestHandler, directory=str(options.built))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server, sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[] if os.geteuid() else ["--no-sandbox"],  # which root cannot have
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        settle(page)
        print(
            f"from the first byte to a list for nobody: {page.evaluate('performance.now()'):.0f} ms"
        )
        # A person takes longer to choose a file than the files take to be kept.
        expect(page.locator("#offline")).not_to_be_empty(timeout=PATIENCE_MS)
        ids = watched(page)
        for turn in range(3):  # each another list: the same would not be computed again
            content = exported(ids, turn)
            page.locator("#file").set_input_files(
                {"name": "animelist.xml.gz", "mimeType": "application/gzip", "buffer": content}
            )
            settle(page)
        took = page.evaluate("performance.getEntriesByName('list').map(each => each.duration)")
        print(f"from a file of {WATCHED} anime to its list: {[round(ms) for ms in took]} ms")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=options.picture)
        browser.close()
        server.shutdown()


def settle(page: Page) -> None:
    """Wait for the list."""
    expect(page.locator("#cards")).not_to_have_attribute("aria-busy", "true", timeout=PATIENCE_MS)


def watched(page: Page) -> list[str]:
    """The ids of what many begin with."""
    cards = page.locator("#cards > li")
    while cards.count() < WATCHED:
        page.locator("#more").click()
        settle(page)
    ids: list[str] = cards.evaluate_all("cards => cards.map(card => card.dataset.id)")
    return ids


def exported(ids: list[str], turn: int) -> bytes:
    """The list of somebody who has watched these, as MyAnimeList exports it."""
    entries = [
        ENTRY.format(each, RATINGS[(at + turn) % len(RATINGS)]) for at, each in enumerate(ids)
    ]
    return gzip.compress(f"<myanimelist>{''.join(entries)}</myanimelist>".encode())


def weigh(built: Path) -> None:
    """Print how large the files are, as they are and packed."""
    for path in sorted(built.rglob("*")):
        if path.is_file() and path.suffix not in (".gz", ".txt"):
            packed = path.with_name(f"{path.name}.gz")
            size = (packed if packed.is_file() else path).stat().st_size
            name = path.relative_to(built).as_posix()
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB, {size / 1e6:.2f} packed")


if __name__ == "__main__":
    main()
