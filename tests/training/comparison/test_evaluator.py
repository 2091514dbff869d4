import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from training.comparison.evaluator import Evaluator, Lists, Row
from training.interactions.expectation import Expectation
from training.splits import Split, split_anime, split_by_user
from training.tables.tables import Tables

SHARES = (0.7, 0.15, 0.15)


def evaluator_of(tables: Tables, parts: Split) -> Evaluator:
    expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
    held, listed = tables.ratings.at(parts.test), parts.listed("test", len(tables.anime))
    return Evaluator(tables, parts, held, expectation, listed)


@pytest.fixture(scope="module")
def parts(tables: Tables) -> Split:
    return split_by_user(tables, SHARES, 0)


@pytest.fixture(scope="module")
def scores(tables: Tables) -> np.ndarray:
    """float32[U, A], all of them different."""
    shape = (len(tables.users), len(tables.anime))
    return np.random.default_rng(1).permutation(math.prod(shape)).reshape(shape).astype(np.float32)


def plain(
    tables: Tables, evaluator: Evaluator, parts: Split, scores: np.ndarray
) -> dict[str, float]:
    """The measures of lists, spelled out."""
    ratings = tables.ratings
    pairs = list(zip(ratings.user_row.tolist(), ratings.anime_row.tolist(), strict=True))
    history: dict[int, set[int]] = {}
    held: dict[int, dict[int, int]] = {}
    for row in parts.known.tolist():
        history.setdefault(pairs[row][0], set()).add(pairs[row][1])
    for row in parts.test.tolist():
        held.setdefault(pairs[row][0], {})[pairs[row][1]] = int(ratings.rating[row])
    trained = [pairs[row][1] for row in parts.train.tolist()]
    found: dict[str, list[float]] = {
        name: [] for name in ("ndcg", "ndcg_liked", "recall_10", "recall_50", "hit_10")
    }
    tens = []
    for user, relevant in held.items():
        open_ = [a for a in np.flatnonzero(evaluator.listed) if a not in history.get(user, set())]
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
