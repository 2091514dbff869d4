import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from training.comparison import held_out
from training.comparison.breakdown import GENDERS, NOT_STATED
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.interactions.expectation import Expectation
from training.splits import Split, split_anime, split_by_user
from training.tables.tables import Tables

SHARES = (0.7, 0.15, 0.15)


def evaluator_of(tables: Tables, parts: Split) -> Evaluator:
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    return Evaluator(tables, parts, HeldOut.test_rows(tables, parts), expectation)


@pytest.fixture(scope="module")
def parts(tables: Tables) -> Split:
    return split_by_user(tables, SHARES, 0)


@pytest.fixture(scope="module")
def scores(tables: Tables) -> np.ndarray:
    """float32[U, A], all of them different."""
    shape = (len(tables.users), len(tables.anime))
    return np.random.default_rng(1).permutation(math.prod(shape)).reshape(shape).astype(np.float32)


def distance(one: set[str], other: set[str]) -> float | None:
    return 1 - len(one & other) / math.sqrt(len(one) * len(other)) if one and other else None


def divergence(watched: list[set[str]], listed: list[set[str]]) -> list[float]:
    """None where no genre is known."""

    def shares(anime: list[set[str]]) -> dict[str, float]:
        known = [each for each in anime if each]
        names = {name for each in known for name in each}
        return {n: sum((n in each) / len(each) for each in known) / len(known) for n in names}

    p, q = shares(watched), shares(listed)
    mixed = {name: 0.99 * q.get(name, 0) + 0.01 * share for name, share in p.items()}
    return [sum(share * math.log(share / mixed[n]) for n, share in p.items())] if p else []


def plain(
    tables: Tables, evaluator: Evaluator, parts: Split, scores: np.ndarray
) -> dict[str, float]:
    """The measures of lists, spelled out."""
    ratings = tables.ratings
    pairs = list(zip(ratings.user_row.tolist(), ratings.anime_row.tolist(), strict=True))
    genres = [set(each) for each in tables.anime["genres"]]
    known: dict[int, set[int]] = {}
    history: dict[int, set[int]] = {}
    held: dict[int, dict[int, int]] = {}
    for row in parts.known.tolist():
        history.setdefault(pairs[row][0], set()).add(pairs[row][1])
    for row in [*parts.known.tolist(), *parts.validation.tolist()]:
        known.setdefault(pairs[row][0], set()).add(pairs[row][1])
    for row in parts.test.tolist():
        held.setdefault(pairs[row][0], {})[pairs[row][1]] = int(ratings.rating[row])
    trained = [pairs[row][1] for row in parts.train.tolist()]
    found: dict[str, list[float]] = {
        name: []
        for name in (
            *("ndcg", "ndcg_liked", "recall_10", "recall_50", "hit_10"),
            *("novelty", "diversity", "miscalibration"),
        )
    }
    raters = len({pairs[row][0] for row in parts.train.tolist()})
    tens = []
    for user, relevant in held.items():
        open_ = [a for a in np.flatnonzero(evaluator.listed) if a not in known.get(user, set())]
        ranked = sorted(open_, key=lambda a: -scores[user, a])[:50]
        ten = ranked[:10]
        tens.append(set(ten))
        liked = {a for a, rating in relevant.items() if rating >= 8}
        for name, wanted in (("ndcg", set(relevant)), ("ndcg_liked", liked)):
            if wanted:
                gain = sum(1 / math.log2(r + 2) for r, a in enumerate(ten) if a in wanted)
                best = sum(1 / math.log2(r + 2) for r in range(min(len(wanted), 10)))
                found[name].append(gain / best)
        found["recall_10"].append(len(set(ten) & set(relevant)) / len(relevant))
        found["recall_50"].append(len(set(ranked) & set(relevant)) / len(relevant))
        found["hit_10"].append(float(bool(set(ten) & set(relevant))))
        found["novelty"].append(
            sum(-math.log2(max(trained.count(a), 1) / raters) for a in ten) / 10
        )
        apart = [distance(genres[a], genres[b]) for a, b in combinations(ten, 2)]
        told = [each for each in apart if each is not None]
        found["diversity"] += [float(np.mean(told))] if told else []
        found["miscalibration"] += divergence(
            [genres[a] for a in history.get(user, set())], [genres[a] for a in ten]
        )
    measures = {name: float(np.mean(each)) for name, each in found.items()}
    same = [len(a & b) / 10 for i, a in enumerate(tens) for j, b in enumerate(tens) if i != j]
    return measures | {
        "overlap": float(np.mean(same)),
        "coverage": len(set.union(*tens)) / evaluator.listed.sum(),
        "popularity": float(np.mean([trained.count(a) for ten in tens for a in ten])),
    }


@pytest.mark.parametrize("rule", [split_by_user, split_anime])
def test_lists_are_worth_what_a_plain_loop_says(
    tables: Tables, scores: np.ndarray, rule: Callable[..., Split]
) -> None:
    parts = rule(tables, SHARES, 0)
    evaluator = evaluator_of(tables, parts)
    line = evaluator.lists(Row("any"), lambda users: scores[users])
    for name, value in plain(tables, evaluator, parts, scores).items():
        assert line[name] == pytest.approx(value), name
    assert line.intervals["ndcg"][0] < line.values["ndcg"] < line.intervals["ndcg"][1]


def test_a_list_for_the_test_holds_nothing_else_that_is_known_of_the_user(
    tables: Tables, parts: Split
) -> None:
    evaluator, ratings = evaluator_of(tables, parts), tables.ratings
    validated = np.zeros((len(tables.users), len(tables.anime)), dtype=np.float32)
    validated[ratings.user_row[parts.validation], ratings.anime_row[parts.validation]] = 1
    asked = np.zeros_like(validated)
    asked[ratings.user_row[parts.test], ratings.anime_row[parts.test]] = 1
    # Whoever puts the validation rows first, and then the test rows, is right about the test.
    line = evaluator.lists(Row("any"), lambda users: 2 * validated[users] + asked[users])
    assert line["ndcg"] == pytest.approx(1)


def test_a_list_for_validation_knows_nothing_of_the_test(tables: Tables, parts: Split) -> None:
    held = HeldOut.validation_rows(tables, parts)
    assert held.ratings.rating.tolist() == tables.ratings.rating[parts.validation].tolist()
    assert not np.isin(held.left_out, parts.test).any()


def test_figures_are_taken_apart_by_history_and_by_popularity(
    tables: Tables, parts: Split, scores: np.ndarray
) -> None:
    evaluator = evaluator_of(tables, parts)
    line = evaluator.lists(Row("any"), lambda users: scores[users])
    user, anime = evaluator.pairs
    predicted = np.random.default_rng(2).uniform(1, 10, len(user))
    line = evaluator.ratings(line, predicted)
    errors = np.square(predicted - evaluator.held.rating)
    lengths = np.bincount(tables.ratings.user_row[parts.train], minlength=len(tables.users))
    counts = np.bincount(tables.ratings.anime_row[parts.train], minlength=len(tables.anime))
    long = lengths[user] >= 100
    assert line.apart["rmse"]["100 or more"] == pytest.approx(math.sqrt(errors[long].mean()))
    assert evaluator.groups["100 or more"] == {
        "users": len(np.unique(user[long])),
        "ratings": int(long.sum()),
    }
    popular = [int(counts[evaluator.breakdown.of_anime == place].sum()) for place in range(3)]
    assert sum(popular) == len(parts.train)
    assert max(popular) - min(popular) <= 2 * counts.max()
    least = [counts[evaluator.breakdown.of_anime == place].min() for place in range(2)]
    most = [counts[evaluator.breakdown.of_anime == place].max() for place in (1, 2)]
    assert all(a >= b for a, b in zip(least, most, strict=True))
    head = evaluator.breakdown.of_anime[anime] == 0
    narrow = replace(
        HeldOut.test_rows(tables, parts), ratings=evaluator.held.at(np.flatnonzero(head))
    )
    closed = evaluator.left_out.toarray() > 0
    of_head = Evaluator(
        tables, parts, narrow, Expectation.fit(tables.ratings, parts.train, len(counts))
    )
    again = of_head.lists(Row("any"), lambda users: np.where(closed[users], -np.inf, scores[users]))
    assert line.apart["ndcg"]["head"] == pytest.approx(again.values["ndcg"])


def test_figures_are_taken_apart_by_gender_as_it_is_stated(
    tables: Tables, parts: Split, scores: np.ndarray
) -> None:
    evaluator = evaluator_of(tables, parts)
    user, _ = evaluator.pairs
    predicted = np.random.default_rng(2).uniform(1, 10, len(user))
    line = evaluator.lists(Row("any"), lambda users: scores[users])
    line = evaluator.ratings(line, predicted)
    stated = tables.users["gender"].fillna("").to_numpy()
    errors = np.square(predicted - evaluator.held.rating)
    for name, text in {**GENDERS, NOT_STATED: ""}.items():
        of = stated[user] == text
        assert of.any()
        users = len(np.unique(user[of]))
        assert evaluator.groups[name] == {"users": users, "ratings": int(of.sum())}
        assert line.apart["rmse"][name] == pytest.approx(math.sqrt(errors[of].mean()))
        for metric in ("rmse", "ndcg"):
            low, high = line.apart_intervals[metric][name]
            assert low <= line.apart[metric][name] <= high
    women = np.flatnonzero(stated == GENDERS["female"])
    alone = replace(
        HeldOut.test_rows(tables, parts),
        ratings=evaluator.held.at(np.flatnonzero(np.isin(user, women))),
    )
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    again = Evaluator(tables, parts, alone, expectation).lists(Row("any"), lambda u: scores[u])
    assert line.apart["ndcg"]["female"] == pytest.approx(again.values["ndcg"])


def test_where_users_are_many_some_are_asked_about(
    tables: Tables, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluator_of(tables, parts)
    monkeypatch.setattr(held_out, "ASKED_USERS", 50)
    few = evaluator_of(tables, parts)
    assert len(few.users) == 50
    assert set(few.held.user_row.tolist()) == set(few.users.tolist())
    assert set(few.history.watched.nonzero()[0].tolist()) <= set(few.users.tolist())
    np.testing.assert_array_equal(
        few.history.watched[few.users].toarray(), whole.history.watched[few.users].toarray()
    )
    np.testing.assert_array_equal(few.popularity, whole.popularity)


def test_ratings_err_by_the_definitions_and_are_cut_to_1_to_10(
    tables: Tables, parts: Split
) -> None:
    evaluator = evaluator_of(tables, parts)
    actual = evaluator.held.rating.astype(np.float64)
    line = evaluator.ratings(Row("any"), np.full(len(actual), 14.0))
    assert line.values["rmse"] == pytest.approx(math.sqrt(np.mean((10 - actual) ** 2)))
    assert line.values["mae"] == pytest.approx(np.mean(10 - actual))
    assert line.intervals["rmse"][0] < line.values["rmse"] < line.intervals["rmse"][1]


def test_scores_that_tell_no_anime_apart_make_no_list(tables: Tables, parts: Split) -> None:
    evaluator = evaluator_of(tables, parts)
    lists = Lists(evaluator)
    for users in evaluator.batches():
        lists.add(users, np.full((len(users), len(tables.anime)), -np.inf, dtype=np.float32))
    assert lists.measured(Row("any")) == Row("any")


def test_a_row_is_kept_flat_and_comes_back(tables: Tables, parts: Split) -> None:
    evaluator = evaluator_of(tables, parts)
    row = evaluator.ratings(Row("any"), np.full(len(evaluator.held.rating), 7.0))
    flat = row.to_dict()
    assert flat["ndcg"] is None
    assert flat["rmse_interval"] == row.intervals["rmse"]
    assert Row.from_dict(json.loads(json.dumps(flat))) == row
