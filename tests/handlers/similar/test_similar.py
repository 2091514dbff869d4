"""What is alike, beside the formulas written down once more, a number at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from bundles.facets import Facets
from bundles.tables import PersonalTables
from handlers.engine.engine import SimilarEngine
from handlers.engine.query import Limits
from handlers.filters.filter import Filter, Values
from handlers.similar.likeness import WEIGHT_OF_VECTORS
from handlers.similar.query import Likeness, SimilarQuery, SimilarRanking

CROSSES, VECTORS, BOTH = Likeness.CROSSES, Likeness.VECTORS, Likeness.BOTH


@pytest.fixture(scope="module")
def bundle(toy: Bundle) -> Bundle:
    """The toy, with vectors, and studios of every other anime."""
    random = np.random.default_rng(1)
    anime, dim = len(toy.catalogue), 4
    vectors = np.round(random.normal(size=(anime, dim)) * 4) / 4
    of_anime = np.zeros((anime + 1, dim + 4))
    of_anime[1:, :dim] = vectors
    none: dict[str, Any] = {name: np.zeros((1, 1)) for name in PersonalTables._fields}
    genres = [each.split(", ") if each else [] for each in toy.catalogue.genres]
    studios = [[f"Studio {row % 4}"] * (row % 2) for row in range(anime)]
    return replace(
        toy,
        tables=PersonalTables(**{**none, "watched": np.zeros((1, dim + 1)), "anime": of_anime}),
        facets=Facets.of({"genres": genres, "studios": studios}, None, None),
    )


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> SimilarEngine:
    return SimilarEngine(bundle)


def answered(engine: SimilarEngine, query: SimilarQuery) -> SimilarRanking:
    ranking = engine.answer(query)
    assert isinstance(ranking, SimilarRanking)
    return ranking


def ids(*given: int) -> np.ndarray:
    return np.array(given, np.int64)


def scored(bundle: Bundle, asked: list[int], likeness: Likeness) -> list[tuple[int, float]]:
    """Id and score of all but those asked about, by score and then by id."""
    crosses, catalogue = bundle.crosses, bundle.catalogue.anime_id.tolist()
    assert crosses is not None
    assert isinstance(bundle.tables, PersonalTables)
    vectors = bundle.tables.anime[1:, :4] - bundle.tables.anime[1:, :4].mean(0)
    rows = [catalogue.index(each) for each in asked]
    found = []
    for row, anime in enumerate(catalogue):
        weight = cosine = 0.0
        for of in rows:
            at = crosses.candidate[of].tolist().index(row)
            weight += float(crosses.weight[of, at]) / len(rows)
            lengths = float(np.linalg.norm(vectors[of]) * np.linalg.norm(vectors[row]))
            cosine += float(vectors[of] @ vectors[row]) / lengths / len(rows)
        score = {CROSSES: weight, VECTORS: cosine, BOTH: weight + WEIGHT_OF_VECTORS * cosine}
        if row not in rows and (likeness is not CROSSES or weight > 0):
            found.append((anime, score[likeness]))
    return sorted(found, key=lambda each: (-np.float32(each[1]), each[0]))


@pytest.mark.parametrize("likeness", Likeness)
@pytest.mark.parametrize("asked", [[3], [24], [3, 9, 60], [9, 3]])
def test_what_is_alike_is_by_score_and_then_by_id(bundle, engine, likeness, asked):
    query = SimilarQuery(ids(*asked), 100, likeness, include_adult=True)
    ranking = answered(engine, query)
    right = scored(bundle, asked, likeness)
    assert ranking.anime_ids.tolist() == [anime for anime, _ in right]
    np.testing.assert_allclose(ranking.scores, [score for _, score in right], atol=1e-6)
    for top_k in (1, 2, 7, len(right)):
        few = answered(engine, replace(query, top_k=top_k))
        assert few.anime_ids.tolist() == ranking.anime_ids[:top_k].tolist()


def test_what_is_in_common_is_said(bundle, engine):
    ranking = answered(engine, SimilarQuery(ids(3, 6), 60, CROSSES, include_adult=True))
    rows = bundle.catalogue.rows(ranking.anime_ids).tolist()
    crosses, asked = bundle.crosses, bundle.catalogue.rows(ids(3, 6)).tolist()
    of_asked = {genre for row in asked for genre in bundle.catalogue.genres[row].split(", ")}
    some = 0
    for row, common in zip(rows, ranking.common, strict=True):
        genres = [each for each in bundle.catalogue.genres[row].split(", ") if each in of_asked]
        assert sorted(common.genres) == sorted(filter(None, genres))
        assert common.studios == (("Studio 1",) if row % 4 == 1 else ())
        weights = [(int(bundle.catalogue.anime_id[of]), crosses.weight[of, row]) for of in asked]
        right = sorted((each for each in weights if each[1] > 0), key=lambda each: -each[1])
        assert [*common.watched] == [(anime, float(weight)) for anime, weight in right]
        some += len(common.watched)
    assert some


def test_no_more_than_three_are_named_of_those_asked_about(bundle, engine):
    ranking = answered(engine, SimilarQuery(bundle.catalogue.anime_id[:40].copy(), 20, CROSSES))
    named = [len(common.watched) for common in ranking.common]
    assert max(named) == 3
    for common in ranking.common:
        weights = [weight for _, weight in common.watched]
        assert weights == sorted(weights, reverse=True)


def test_ids_that_are_not_known_are_told_and_change_nothing(engine):
    known = answered(engine, SimilarQuery(ids(3, 6)))
    mixed = answered(engine, SimilarQuery(ids(10**15, 3, -4, 6, 3, 4, -4)))
    assert mixed.unknown.tolist() == [10**15, -4, 4]
    assert mixed.anime_ids.tolist() == known.anime_ids.tolist()
    assert mixed.scores.tolist() == known.scores.tolist()
    assert not len(known.unknown)


@pytest.mark.parametrize("likeness", [None, *Likeness])
def test_nothing_is_like_what_is_not_known(engine, likeness):
    ranking = answered(engine, SimilarQuery(ids(4, 5), likeness=likeness))
    assert not len(ranking.anime_ids)
    assert ranking.unknown.tolist() == [4, 5]


def test_adult_titles_are_left_out_unless_they_are_asked_for(bundle, engine):
    every = answered(engine, SimilarQuery(ids(3), 99, VECTORS, include_adult=True))
    fewer = answered(engine, SimilarQuery(ids(3), 99, VECTORS))
    adult = bundle.catalogue.adult[bundle.catalogue.rows(every.anime_ids)]
    assert adult.any()
    assert fewer.anime_ids.tolist() == every.anime_ids[~adult].tolist()


def test_a_filter_leaves_the_best_of_what_passes(bundle, engine):
    asked = SimilarQuery(ids(3), 5, VECTORS)
    whole = answered(engine, replace(asked, top_k=99))
    passing = Filter(genres=Values(any=("Sci-Fi",)), studios=Values(none=("Studio 1",)))
    rows = bundle.catalogue.rows(whole.anime_ids)
    keep = np.array(["Sci-Fi" in bundle.catalogue.genres[row] and row % 4 != 1 for row in rows])
    found = answered(engine, replace(asked, filter=passing))
    assert found.anime_ids.tolist() == whole.anime_ids[keep][:5].tolist()
    nothing = answered(engine, replace(asked, filter=Filter(only_ids=ids())))
    assert not len(nothing.anime_ids)
    assert nothing.common == []


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (SimilarQuery(ids()), ["anime_ids"]),
        (SimilarQuery(ids(*range(1, 12))), ["anime_ids"]),
        (SimilarQuery(ids(3), 0), ["top_k"]),
        (SimilarQuery(ids(), 0), ["anime_ids", "top_k"]),
        (
            SimilarQuery(ids(3), filter=Filter(genres=Values(any=("Akshun", "Action")))),
            ["filter.genres.any[0]"],
        ),
    ],
)
def test_all_that_is_wrong_is_told(bundle, query, fields):
    error = SimilarEngine(bundle, Limits(history=10)).answer(query)
    assert isinstance(error, InvalidQuery)
    assert [fault.field for fault in error.faults] == fields


def test_a_model_offers_what_it_has(bundle, toy):
    without = replace(toy, crosses=None)
    for of, asked, said in (
        (toy, VECTORS, "VECTORS is not offered by this model; CROSSES is"),
        (replace(bundle, crosses=None), BOTH, "BOTH is not offered by this model; VECTORS is"),
        (without, None, "neither crosses nor vectors"),
    ):
        error = SimilarEngine(of).answer(SimilarQuery(ids(3), likeness=asked))
        assert isinstance(error, InvalidQuery)
        assert (error.field, said in error.reason) == ("likeness", True)
    assert answered(SimilarEngine(toy), SimilarQuery(ids(3))).likeness is CROSSES
    assert answered(SimilarEngine(bundle), SimilarQuery(ids(3))).likeness is BOTH
    alone = answered(SimilarEngine(replace(bundle, crosses=None)), SimilarQuery(ids(3)))
    assert alone.likeness is VECTORS
    assert not any(common.watched for common in alone.common)
