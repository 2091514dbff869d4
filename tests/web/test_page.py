"""Who uses the page: with a keyboard, a screen reader, a phone, no network, or bad intent."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from handlers.facade.protocols.http.site import Site
from tests.handlers.forms.exported import entry, exported
from tests.handlers.forms.test_mal_export import NO_LISTS
from tests.web.conftest import BELOW, SOME_TIME_MS, WEB, Build, Open, give, settled

WIDTHS = (360, 1440)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MOST_TABS = 80
KEPT = "Kept in this browser"

pytestmark = pytest.mark.slow


def watched(page: Page) -> list[int]:
    """Ids of the first anime of the list, rated by hand, so that there is something to keep."""
    ids = page.locator("#cards > li").evaluate_all("cards => cards.map(each => +each.dataset.id)")
    for anime_id in ids[:2]:
        page.locator(f'#cards > li[data-id="{anime_id}"] select').select_option("8")
        settled(page)
    return ids[:2]


def check_looks(page: Page) -> None:
    """On a phone and a large screen, light and dark: axe finds nothing wrong, and nothing is wider
    than the screen.
    """
    page.evaluate((WEB / "node_modules/axe-core/axe.min.js").read_text("utf-8"))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run().then(found => found.violations)")
            faults = [[each["id"], [node["html"] for node in each["nodes"]]] for each in found]
            assert faults == [], (width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width


def test_nobody_is_shut_out(opened: Open) -> None:
    page = opened(reduced_motion="reduce")
    check_looks(page)
    give(page, b"<html/>")  # an error
    watched(page)
    page.locator("#search").fill("a")
    page.locator("#hits > li").first.wait_for()
    for summary in page.locator("summary:visible").all():
        if summary.evaluate("each => !each.parentElement.open"):
            summary.click()
    for summary in page.locator("#filters summary").all():
        summary.click()
    page.locator("#filters input[type=checkbox]").first.check(force=True)
    settled(page)
    page.locator("#watched > li").first.wait_for()
    check_looks(page)
    page.locator("#cards button.alike").first.click()
    page.locator("#alike-list > li").first.wait_for()
    check_looks(page)
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter(each => "
        "!['0s', ''].includes(getComputedStyle(each).transitionDuration)).length"
    )
    assert not moving


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until it has the focus; everything on the way shows that it has it."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if not focused.count():
            continue
        outlined = "each => each.matches('[type=file], .chip input') || "
        assert focused.evaluate(outlined + "getComputedStyle(each).outlineStyle !== 'none'")
        if focused.evaluate("(each, selector) => each.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_a_keyboard_is_enough(opened: Open) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the list"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "list"
    page.reload()
    settled(page)
    tab_to(page, "#file")
    tab_to(page, "#search")
    page.keyboard.type("no")
    page.locator("#hits select").first.wait_for()
    tab_to(page, "#hits select")
    page.keyboard.type("Seen: 9")
    expect(page.locator("#shelf")).to_be_hidden()  # which may be on the way to another rating
    page.keyboard.press("Tab")
    settled(page)
    expect(page.locator("#counts")).to_have_text("1 watched, 1 of them rated.")
    tab_to(page, "#cards button.hide")
    first = page.locator("#cards > li").first.get_attribute("data-id")
    page.keyboard.press("Enter")
    settled(page)
    page.locator(f'#cards:not(:has(> li[data-id="{first}"]))').wait_for()
    place = "each => each === document.querySelector('#cards > li').querySelector('.hide')"
    assert page.locator(":focus").evaluate(place)  # of who has come into its place
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.locator("#alike-list > li").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "alike-title"
    tab_to(page, "#alike-list button")
    page.keyboard.press("Escape")
    assert page.locator(":focus").get_attribute("class") == "alike"
    tab_to(page, "#cards select")
    page.keyboard.type("Seen: 7")
    page.keyboard.press("Enter")
    settled(page)
    expect(page.locator("#counts")).to_have_text("2 watched, 2 of them rated.")
    assert page.locator(":focus").get_attribute("class") == "rate"


GOOD = exported(entry(1, "a", 9, "Completed"))


def refused(page: Page, content: bytes, name: str = "list.xml") -> str:
    """What is said of a file that should leave the list of `GOOD` as it was."""
    give(page, content, name)
    said = page.locator("#failed[role=alert]").inner_text()
    assert page.locator("#counts").inner_text().startswith("1 watched")  # as it was
    assert 0 < len(said) < 400
    assert not page.locator("#failed > *").count()
    return said


def forgive_marks(wrong: list[str]) -> None:
    """Chromium marks the place in what is not XML with a style, which the page's policy forbids."""
    assert all("inline style" in each for each in wrong)
    wrong.clear()


def test_what_is_no_list_is_refused_and_changes_nothing(opened: Open, wrong: list[str]) -> None:
    page = opened()
    give(page, GOOD)
    expect(page.locator("#failed")).to_be_hidden()
    for content, named in NO_LISTS:
        said = refused(page, content)
        assert said.startswith("list.xml: ")
        # Which place it is, and what a packer has against a file, browsers tell otherwise.
        if not any(other in named for other in ("is not XML", "in the middle", "gzip")):
            assert named in said
    nothing = exported(entry(1, "a", 0, "Plan to Watch"))
    assert "has no anime that was watched" in refused(page, nothing)
    forgive_marks(wrong)


def test_a_file_that_means_harm_does_none(opened: Open, wrong: list[str], tmp_path: Path) -> None:
    page = opened()
    give(page, GOOD)
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    for document in (
        f'<?xml version="1.0"?><!-- > --><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><myanimelist/>',
        '<!DOCTYPE x [<!ENTITY s SYSTEM "file:///etc/passwd">]><myanimelist>&s;</myanimelist>',
        '\ufeff <!DOCTYPE x SYSTEM "http://example.com/x"><myanimelist/>',
    ):
        assert "declares a document type" in refused(page, document.encode())
    script = "<img src=x onerror=alert(1)>"
    assert f"is '{script}'" in refused(page, exported(entry(1, "a", 9, f"<![CDATA[{script}]]>")))
    assert refused(page, b"<html/>", f"{script}.xml").startswith(f"{script}.xml: is 'html'")
    inside = '<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>'
    listed = exported(entry(1, script, 9, "Completed"))
    give(page, listed.replace(b"<myinfo>", f"<myinfo>{inside}".encode()))
    expect(page.locator("#counts")).to_have_text("1 watched, 1 of them rated.")
    assert not page.locator("img, body script").count()
    for name, content, said in (
        ("bomb.gz", gzip.compress(bytes(1 << 28)), "has more than 32 MiB of XML"),
        ("large.xml", b"<myanimelist>" + b" " * (33 << 20), "has more than 32 MiB of XML"),
        ("many.xml", b"<myanimelist>" + b"<x/>" * 750_001, "has more than 750,000 elements"),
        ("deep.xml", b"<a>" * 700_000, "deep.xml: is "),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        page.locator("#file").set_input_files(file)
        expect(page.locator("#failed")).to_contain_text(said, timeout=SOME_TIME_MS)
    forgive_marks(wrong)


def test_a_list_is_kept_where_asked_and_forgotten_where_asked(opened: Open) -> None:
    page = opened()
    keeps = "JSON.stringify({...localStorage}) + document.cookie"
    ids = watched(page)
    assert page.evaluate(keeps) == "{}"
    page.reload()
    settled(page)
    expect(page.locator("#shelf")).to_be_hidden()
    assert watched(page) == ids
    page.locator("#remember").check()
    page.reload()
    settled(page)
    expect(page.locator("#counts")).to_have_text("2 watched, 2 of them rated.")
    page.locator("#forget").click()
    settled(page)
    expect(page.locator("#shelf")).to_be_hidden()
    assert page.evaluate(keeps) == "{}"
    for kept in ({"ratings": [["<img>", 9], [1, 99], [5, 7]], "planned": [], "hidden": ["x"]}, 5):
        page.evaluate("kept => localStorage.setItem('anirank', kept)", json.dumps(kept))
        page.reload()
        settled(page)
        counts = page.locator("#counts").text_content()
        assert counts == (
            "1 watched, 1 of them rated." if kept != 5 else "0 watched, 0 of them rated."
        )


def test_it_works_without_a_network_and_takes_a_newer_version_when_told(
    opened: Open, build: Build, light: Path, site: Callable[[Path], str], tmp_path: Path
) -> None:
    small, root = tmp_path / "light", tmp_path / "root"
    shutil.copytree(light / "light", small)
    build(small, root / BELOW)
    page = opened(site(root))
    expect(page.locator("#offline")).to_contain_text(KEPT, timeout=SOME_TIME_MS)
    shutil.move(root, tmp_path / "gone")  # nothing is answered any more
    page.reload()
    settled(page)
    watched(page)
    assert page.locator("#cards .reasons").count()
    catalogue = json.loads((small / "catalogue.json").read_text("utf-8")) | {"version": "next"}
    (small / "catalogue.json").write_text(json.dumps(catalogue))
    build(small, root / BELOW)
    page.reload()
    settled(page)
    assert "anime 1," in page.locator("#about").inner_text()  # whole, of the version before
    page.locator("#renew").click(timeout=SOME_TIME_MS)
    expect(page.locator("#about")).to_contain_text("anime next,", timeout=SOME_TIME_MS)
    settled(page)
    assert page.evaluate("caches.keys().then(kept => kept.length)") == 1


def test_a_facade_shows_it_as_it_is(opened: Open, serve: Any, built: Path) -> None:
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append, site=Site.read(built))
    page = opened(f"{urls[0]}/page/")
    watched(page)
    assert page.locator("#cards .reasons").count()
    expect(page.locator("#offline")).to_contain_text(KEPT, timeout=SOME_TIME_MS)
    page.reload()
    settled(page)
