"""The report as a browser lays it out, at the width of a phone and of a desk."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (390, 768, 1024, 1440)

# A frame has a width of its own, which a headless window has not below 500 pixels.
FRAMES = """<!doctype html><meta charset="utf-8">
{frames}<pre id="measured"></pre>
<script>
const measured = {{}};
onload = () => {{
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument, table = page.querySelector(".wide");
    const overflows = table.scrollWidth > table.clientWidth;
    table.scrollLeft = table.scrollWidth;
    const name = page.querySelector(".measures tbody th[scope=row]").getBoundingClientRect();
    const last = page.querySelector(".measures thead th:last-child").getBoundingClientRect();
    const region = table.getBoundingClientRect();
    const letters = [...page.querySelectorAll(".drawing text")];
    const drawings = [...page.querySelectorAll(".drawing")];
    measured[frame.width] = {{
      page: page.documentElement.scrollWidth,
      overflows,
      hint: page.querySelector(".hint").getClientRects().length > 0,
      nameStays: Math.abs(name.left - region.left) <= 1.5,
      lastIsReached: last.right <= region.right + 1,
      letters: Math.min(...letters.map((each) => (
        parseFloat(getComputedStyle(each).fontSize) * each.ownerSVGElement.getScreenCTM().a))),
      drawings: drawings.map((each) => each.getBoundingClientRect().width),
    }};
  }}
  document.querySelector("#measured").textContent = JSON.stringify(measured);
}};
</script>"""


@pytest.fixture(scope="module")
def measured(personal: PersonalRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Chromium says of the page, by the width of its window."""
    if CHROMIUM is None:
        pytest.skip("no chromium on the path; install one to see the page laid out")
    folder = tmp_path_factory.mktemp("browser")
    page = PersonalPreset().report(personal, folder / "page.html").read_text("utf-8")
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>'
        for width in WIDTHS
    )
    (folder / "frames.html").write_text(FRAMES.format(frames=frames), "utf-8")
    return _dumped(CHROMIUM, folder)


def _dumped(chromium: str, folder: Path) -> dict[str, Any]:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    command = [
        chromium,
        *flags,
        f"--user-data-dir={folder}/profile",
        f"file://{folder}/frames.html",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="measured">(.+?)</pre>', shown)
    assert found, shown[-2000:]
    return json.loads(html.unescape(found[1]))


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(measured: dict[str, Any], width: int) -> None:
    assert measured[str(width)]["page"] <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_that_scrolls_says_so_and_keeps_the_names(
    measured: dict[str, Any], width: int
) -> None:
    at = measured[str(width)]
    assert at["hint"] or not at["overflows"]
    assert at["nameStays"]
    assert at["lastIsReached"]


def test_the_whole_table_is_seen_on_a_desk_and_not_on_a_phone(measured: dict[str, Any]) -> None:
    assert not measured["1440"]["overflows"]
    assert not measured["1440"]["hint"]
    assert measured["390"]["overflows"]


@pytest.mark.parametrize("width", WIDTHS)
def test_charts_can_be_read_at_every_width(measured: dict[str, Any], width: int) -> None:
    at = measured[str(width)]
    assert at["letters"] >= 9  # pixels
    assert all(300 <= drawn <= 500 for drawn in at["drawings"])
