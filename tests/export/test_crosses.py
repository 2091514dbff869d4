"""The wide score of the served graph against the arrays that stand beside it in the bundle."""

import dataclasses
import json
import shutil
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anirank.errors import BundleError
from bundles.bundle import Bundle
from export.bundle import Exported, export
from handlers.engine.engine import Engine
from handlers.engine.explanations import explanations
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Query, Ranking
from training.personal.run import PersonalRun

HOSTILE = (0, -1, 2**63 - 1, 2**31)
LENGTHS = (0, 1, 2, 7, 40, 300, 2_000)

# Rounded to float32 the graph's sum and ours may fall on two sides of one number's half.
ROUNDING = 2.0**-23

pytestmark = pytest.mark.slow  # trains and exports a model with genre crosses


@pytest.fixture(scope="module")
def with_genres(personal: PersonalRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same run with crosses of genres that weigh much, whatever validation chose."""
    folder = tmp_path_factory.mktemp("with_genres")
    run = dataclasses.replace(personal, folder=shutil.copytree(personal.folder, folder / "run"))
    mix = json.loads((run.folder / "mix.json").read_text("utf-8"))
    (run.folder / "mix.json").write_text(json.dumps(mix | {"taste": 0.15, "genres": 20.0}))
    return export(run, folder / "store", "anime", "1")


@pytest.fixture(scope="module", params=["personal_bundle", "with_genres"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    exported: Exported = request.getfixturevalue(request.param)
    return Bundle.open(exported.folder)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))


def history(bundle: Bundle, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the catalogue mostly, some of it twice, some not rated, with ids that nobody knows."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(bundle.catalogue.anime_id, length)
    ids = np.where(rng.random(length) < 0.1, rng.choice(np.array(HOSTILE), length), ids)
    ratings = rng.choice(np.array([np.nan, *range(1, 11)], np.float32), length)
    return ids, ratings


def ranked(engine: Engine, ids: np.ndarray, ratings: np.ndarray) -> Ranking:
    """The whole catalogue, explained."""
    query = Query(
        history_ids=ids,
        history_ratings=ratings,
        include_seen=True,
        include_adult=True,
        explain=True,
    )
    [ranking] = engine.rank([query])
    assert isinstance(ranking, Ranking)
    return ranking


def reckoned(bundle: Bundle, ids: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """float64[A]: the wide scores from the bundle's files alone, one watched anime at a time."""
    arrays: dict[str, Any] = {
        name: np.load(bundle.folder / "crosses" / f"{name}.npy")
        for name in ("candidate", "weight", "expected", "genre")
    }
    wide = json.loads((bundle.folder / "manifest.json").read_text("utf-8"))["wide"]
    places = {anime: row for row, anime in enumerate(bundle.catalogue.anime_id.tolist())}
    watched = [(places[a], r) for a, r in zip(ids.tolist(), ratings, strict=True) if a in places]
    residuals = {n: r - arrays["expected"][h] for n, (h, r) in enumerate(watched) if r == r}
    offset = sum(residuals.values()) / (len(residuals) + wide["damping"])
    liked = [residuals[n] - offset if n in residuals else 0.0 for n in range(len(watched))]
    total = np.zeros(len(places))
    for (row, _), weight in zip(watched, liked, strict=True):
        for candidate, cross in zip(
            arrays["candidate"][row], arrays["weight"][row].astype(np.float64), strict=True
        ):
            total[candidate] += (1 + wide["taste"] * weight) * cross
    damping = wide["genre_damping"]
    for genre, numbers in enumerate(wide["genres"] if watched else []):
        of_it = [n for n, (row, _) in enumerate(watched) if arrays["genre"][row, genre]]
        like = sum(liked[n] for n in of_it) / (len(of_it) + damping)
        share = (len(of_it) - numbers["usual"] * len(watched)) / (len(watched) + damping)
        added = numbers["liking"] * like + numbers["watching"] * share
        total += added * arrays["genre"][:, genre]
    return total


@settings(max_examples=30, deadline=None)
@given(length=st.sampled_from(LENGTHS), seed=st.integers(0, 2**32))
@example(length=0, seed=0)
@example(length=2_000, seed=0)
def test_everything_that_contributes_sums_to_the_wide_score_of_the_graph(
    engine: Engine, bundle: Bundle, length: int, seed: int
) -> None:
    ids, ratings = history(bundle, length, seed)
    found = ranked(engine, ids, ratings)
    wide = np.empty(len(bundle.catalogue))
    wide[bundle.catalogue.rows(found.anime_ids)] = found.wides
    expected = reckoned(bundle, ids, ratings)
    np.testing.assert_allclose(wide, expected, rtol=ROUNDING, atol=ROUNDING * 1e-3)
    rows = bundle.catalogue.rows(ids)
    assert bundle.crosses is not None
    parts = bundle.crosses.contributions(
        rows[rows >= 0], ratings[rows >= 0], np.arange(len(expected))
    )
    summed = np.bincount(parts.candidate, parts.value, len(expected)) + parts.genre.sum(1)
    np.testing.assert_allclose(summed, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(length=st.sampled_from(LENGTHS), seed=st.integers(0, 2**32))
def test_the_reasons_and_the_rest_are_the_wide_score_exactly(
    engine: Engine, bundle: Bundle, length: int, seed: int
) -> None:
    ids, ratings = history(bundle, length, seed)
    found = ranked(engine, ids, ratings)
    reasons = found.reasons
    assert reasons is not None
    contributions, ends = reasons.contributions.tolist(), reasons.offsets.tolist()
    for place, (wide, rest) in enumerate(
        zip(found.wides.tolist(), reasons.rests.tolist(), strict=True)
    ):
        mine = contributions[ends[place] : ends[place + 1]]
        assert sum(mine) + rest == wide
        assert mine == sorted(mine, reverse=True)
        assert all(each > 0 for each in mine)
        assert len(mine) <= 5
    given_items = set(zip(ids.tolist(), np.nan_to_num(ratings).tolist(), strict=True))
    of_anime = reasons.genres < 0
    named = zip(
        reasons.anime_ids[of_anime].tolist(),
        np.nan_to_num(reasons.ratings[of_anime]).tolist(),
        strict=True,
    )
    assert set(named) <= given_items


def test_a_reason_is_what_the_wide_score_loses_without_that_anime(
    engine: Engine, bundle: Bundle
) -> None:
    ids, _ = bundle.histories.of(int(bundle.histories.user_id[0]))
    unrated = np.full(len(ids), np.nan, np.float32)  # else the others' distance to the mean shifts
    whole = ranked(engine, ids, unrated)
    assert whole.reasons is not None
    assert bundle.crosses is not None
    rows, candidates = bundle.catalogue.rows(ids), bundle.catalogue.rows(whole.anime_ids)
    genres = bundle.crosses.contributions(rows, unrated, candidates).genre.sum(1)
    tried = 0
    for place in range(len(whole.anime_ids)):
        mine = range(*whole.reasons.offsets[place : place + 2].tolist())
        named = [at for at in mine if whole.reasons.genres[at] < 0]
        if not named or tried == 5:
            continue
        first, tried = named[0], tried + 1
        kept = ids != whole.reasons.anime_ids[first]
        less = ranked(engine, ids[kept], unrated[kept])
        [lost] = whole.wides[place] - less.wides[less.anime_ids == whole.anime_ids[place]]
        # Shares of the history in each genre shift as well.
        left = bundle.crosses.contributions(rows[kept], unrated[kept], candidates).genre.sum(1)
        lost -= genres[place] - left[place]
        np.testing.assert_allclose(lost, whole.reasons.contributions[first], atol=1e-6)
    assert tried == 5


def test_a_genre_is_among_the_reasons_where_genres_weigh_anything(with_genres: Exported) -> None:
    bundle = Bundle.open(with_genres.folder)
    engine = Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))
    found = ranked(engine, *history(bundle, 40, seed=0))
    assert found.reasons is not None
    assert bundle.manifest.wide is not None
    genres = found.reasons.genres[found.reasons.genres >= 0]
    assert len(genres) > 20
    assert genres.max() < len(bundle.manifest.wide.genres)
    for explanation, row in zip(
        explanations(found, bundle), bundle.catalogue.rows(found.anime_ids), strict=True
    ):
        assert explanation is not None
        of = bundle.catalogue.genres[row].split(", ")
        assert {r.genre for r in explanation.reasons if r.genre is not None} <= set(of)


def test_the_seeds_bundle_has_no_reasons_and_all_of_its_wide_score_is_the_rest(
    exported: Exported,
) -> None:
    bundle = Bundle.open(exported.folder)
    assert bundle.crosses is None
    found = ranked(
        Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle))), *history(bundle, 40, seed=0)
    )
    assert found.reasons is not None
    assert not len(found.reasons.contributions)
    assert found.reasons.rests.tolist() == found.wides.tolist()


def test_one_changed_byte_of_the_crosses_is_refused(bundle: Bundle) -> None:
    path = bundle.folder / "crosses" / "weight.npy"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=r"weight\.npy: SHA-256 is"):
            Bundle.open(bundle.folder)
    finally:
        path.write_bytes(content)
