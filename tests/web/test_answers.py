"""The page answers as the engine does with the same graph."""

import gzip
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from handlers.engine.engine import Engine
from handlers.engine.explanations import explanations
from handlers.engine.query import Objective, Query, Ranking
from handlers.filters.filter import Filter, Range, Values
from handlers.forms.mal_export import read_mal_export
from handlers.similar.query import SimilarQuery, SimilarRanking
from tests.handlers.forms.exported import entry, exported
from tests.web.conftest import Open, give, settled

SHOWN = 20
GENEROUS_MS = 30_000

READ = """cards => cards.map(card => ({
    id: Number(card.dataset.id), score: Number(card.dataset.score),
    rating: Number(card.dataset.rating), title: card.querySelector("h3 span").textContent,
    reasons: [...card.querySelectorAll("[data-contribution]")].map(
        (each) => [each.textContent, Number(each.dataset.contribution)]),
    common: card.querySelector(".common")?.textContent ?? "",
}))"""

pytestmark = pytest.mark.slow


def shown(page: Page, cards: str = "#cards") -> Any:
    return page.locator(f"{cards} > li").evaluate_all(READ)


@pytest.fixture(scope="module")
def own(engine: Engine) -> bytes:
    """The exported list of somebody with a taste: each rating, each status, and what is unknown."""
    random = np.random.default_rng(7)
    ids = random.choice(engine.bundle.catalogue.anime_id, 60, replace=False).tolist()
    statuses = ["Completed", "Watching", "On-Hold", "Dropped"]
    entries = [
        entry(anime, "A <b>title</b>", at % 11, statuses[at % 4]) for at, anime in enumerate(ids)
    ]
    planned = [entry(anime, "Planned", 0, "Plan to Watch") for anime in (ids[0], 54_999_999)]
    return gzip.compress(exported(*entries, entry(54_999_998, "?", 7, "Completed"), *planned))


def query(own: bytes, **options: Any) -> Query:
    history = read_mal_export(own, "own").history(most=2_000)
    ratings = [np.nan if rating is None else rating for rating in history.values()]
    return Query(
        history_ids=np.array([*history], np.int64),
        history_ratings=np.array(ratings, np.float32),
        **{"top_k": SHOWN, **options},
    )


def check(page: Page, engine: Engine, asked: Query) -> None:
    """Order, scores, ratings and reasons are the engine's."""
    [ranking] = engine.rank([asked])
    assert isinstance(ranking, Ranking)
    assert len(ranking.anime_ids)
    found = shown(page)
    assert [card["id"] for card in found] == ranking.anime_ids.tolist()
    assert [card["score"] for card in found] == ranking.scores.tolist()
    assert [card["rating"] for card in found] == ranking.ratings.tolist()
    if asked.explain:
        wanted = explanations(ranking, engine.bundle)
        assert any(each is not None and each.reasons for each in wanted)
        for card, explanation in zip(found, wanted, strict=True):
            assert explanation is not None
            because = explanation.reasons
            assert [text for text, _ in card["reasons"]] == [
                each.genre or (each.title + (f" {each.rating:g}" if each.rating else ""))
                for each in because
            ]
            values = [value for _, value in card["reasons"]]
            wanted_values = [each.contribution for each in because]
            np.testing.assert_allclose(values, wanted_values, rtol=1e-6)


def test_a_list_of_myanimelist_is_ranked_as_by_the_engine(
    opened: Open, engine: Engine, own: bytes
) -> None:
    page = opened()
    check(page, engine, Query(top_k=SHOWN))  # somebody of whom nothing is known
    give(page, own, "animelist.xml.gz")
    check(page, engine, query(own, explain=True))
    assert page.locator("#counts").inner_text() == "61 watched, 55 of them rated; 1 planned."
    assert "1 of yours is not in this catalogue" in page.locator("#said").inner_text()
    took = page.evaluate("performance.getEntriesByName('list').map(each => each.duration)")
    assert took[0] < GENEROUS_MS
    for value, objective in (("rating", Objective.RATING), ("affinity", Objective.AFFINITY)):
        page.locator("#order").select_option(value)
        settled(page)
        check(page, engine, query(own, explain=True, objective=objective))
    page.locator("#more").click()
    settled(page)
    check(page, engine, query(own, objective=Objective.AFFINITY, top_k=2 * SHOWN))


def test_filters_are_those_of_the_engine(opened: Open, engine: Engine, own: bytes) -> None:
    page = opened(viewport={"width": 1440, "height": 900})
    give(page, own)
    facets = engine.bundle.facets
    genres, types = ([*facets.of_column(column)] for column in ("genres", "types"))
    studios, sources = ([*facets.of_column(column)] for column in ("studios", "sources"))
    ages = [*facets.of_column("age_ratings")]
    form, boxes = page.locator("#filters"), "input[name={}][value={}]"

    def tick(name: str, *values: str) -> None:
        for value in values:
            form.locator(boxes.format(name, f'"{value}"')).check(force=True)

    def holds(asked: Filter, **options: Any) -> None:
        settled(page)
        check(page, engine, query(own, filter=asked, **options))
        form.locator("[type=reset]").click()
        settled(page)

    for summary in form.locator("summary").all():
        summary.click()
    tick("genres", *genres[:2])
    holds(Filter(genres=Values(any=tuple(genres[:2]))))
    tick("genres", *genres[1:3])
    form.locator("input[value=all]").check()
    holds(Filter(genres=Values(all=tuple(genres[1:3]))))
    tick("without", genres[0])
    tick("types", types[0], types[1])
    holds(Filter(genres=Values(none=(genres[0],)), types=Values(any=tuple(types[:2]))))
    form.locator("[name=studios]").select_option(studios[0])
    holds(Filter(studios=Values(any=(studios[0],))))
    form.locator("[name=sources]").select_option(sources[0])
    holds(Filter(sources=Values(any=(sources[0],))))
    tick("age_ratings", ages[0])
    holds(Filter(age_ratings=Values(any=(ages[0],))))
    form.locator("[name=years-min]").fill("1990")
    form.locator("[name=years-max]").fill("2010")
    form.locator("[name=episodes-max]").fill("13")
    holds(Filter(years=Range(1990, 2010), episodes=Range(None, 13)))
    form.locator("[name=years-min]").fill("2020")
    holds(Filter(years=Range(2020)))
    form.locator("[name=adult]").check()
    holds(Filter(), include_adult=True)
    first = shown(page)[0]
    page.locator("#cards button.hide").first.click()
    holds(Filter(without_ids=np.array([first["id"]])))
    page.locator("#unhide").click()
    holds(Filter())
    form.locator("[name=planned]").check()
    settled(page)
    assert "No title passes these filters" in page.locator("#said").inner_text()
    assert not shown(page)


def test_what_is_found_and_rated_by_hand_is_ranked_by(opened: Open, engine: Engine) -> None:
    page, catalogue = opened(), engine.bundle.catalogue
    ids = catalogue.anime_id[[5, 40]]
    for anime_id, mark in zip(ids.tolist(), ("9", "watched"), strict=True):
        title = catalogue.titles[int(catalogue.rows(np.array([anime_id]))[0])]
        page.locator("#search").fill(title.upper())
        line = page.locator(f'#hits > li[data-id="{anime_id}"]')
        line.locator("select").select_option(mark)
        settled(page)
    asked = Query(history_ids=ids, history_ratings=np.array([9, np.nan], np.float32), top_k=SHOWN)
    check(page, engine, asked)
    page.locator("#watched-box summary").click()
    line = page.locator(f'#watched > li[data-id="{ids[1]}"]')
    line.locator("select").select_option("")
    settled(page)
    asked = Query(history_ids=ids[:1], history_ratings=np.array([9], np.float32), top_k=SHOWN)
    check(page, engine, asked)


def test_what_is_alike_is_what_the_engine_finds_alike(
    opened: Open, engine: Engine, own: bytes
) -> None:
    page = opened()
    give(page, own)
    anime_id = shown(page)[2]["id"]
    page.locator("#cards button.alike").nth(2).click()
    for _ in range(2):  # of a card of the list, then of what was alike
        page.locator(f'#alike-list:not(:has(li[data-id="{anime_id}"]))').wait_for()
        [wanted] = engine.similar([SimilarQuery(np.array([anime_id]), top_k=12)])
        assert isinstance(wanted, SimilarRanking)
        found = shown(page, "#alike-list")
        assert [card["id"] for card in found] == wanted.anime_ids.tolist()
        scores = [card["score"] for card in found]
        np.testing.assert_allclose(scores, wanted.scores, rtol=1e-6)
        for card, common in zip(found, wanted.common, strict=True):
            together = ["watched by the same people"] * bool(common.watched)
            told = [*common.genres, *(f"by {studio}" for studio in common.studios), *together]
            assert card["common"] == (f"In common: {', '.join(told)}" if told else "")
        anime_id = found[1]["id"]
        page.locator("#alike-list button.alike").nth(1).click()
