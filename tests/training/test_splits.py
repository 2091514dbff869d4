from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from anirank.errors import DataError
from training.splits import PARTS, Rule, Split, continued, split, split_anime, split_users
from training.tables.growth import Growth
from training.tables.tables import Ratings, Tables

SHARES = (0.7, 0.15, 0.15)


@pytest.mark.parametrize("rule", ["ratings", "users", "anime"])
def test_however_cut_no_rating_is_in_two_parts_and_a_seed_fixes_them(
    tables: Tables, rule: Rule
) -> None:
    parts, again = (split(tables, rule, SHARES, 0) for _ in range(2))
    other = split(tables, rule, SHARES, 1)
    rows = np.concatenate([parts.known, parts.validation, parts.test])
    assert len(np.unique(rows)) == len(rows)
    for part in ("train", "validation", "test", "history"):
        assert np.array_equal(getattr(parts, part), getattr(again, part))
    assert not np.array_equal(parts.test, other.test)


def test_nothing_is_fitted_on_a_held_out_user_whose_request_brings_most_of_the_ratings(
    tables: Tables,
) -> None:
    parts, user = split_users(tables, SHARES, 0), tables.ratings.user_row
    everyone = set(user.tolist())
    groups = [set(user[rows].tolist()) for rows in (parts.train, parts.validation, parts.test)]
    assert abs(len(groups[0]) / len(everyone) - 0.7) < 0.01
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert not groups[0] & set(user[parts.history].tolist())
    counts = np.bincount(user)
    asked = np.bincount(user[np.concatenate([parts.validation, parts.test])], minlength=len(counts))
    brought = np.bincount(user[parts.history], minlength=len(counts))
    held = brought > 0
    np.testing.assert_array_equal((asked + brought)[held], counts[held])
    assert np.all(np.abs(asked - 0.2 * counts)[held] <= 0.5)


def test_held_out_anime_have_no_training_rating_and_are_asked_of_users_who_have(
    tables: Tables,
) -> None:
    parts, ratings = split_anime(tables, SHARES, 0), tables.ratings
    rated = len(np.unique(ratings.anime_row))
    validation, test = (
        parts.listed("validation", len(tables.anime)),
        parts.listed("test", len(tables.anime)),
    )
    assert abs(test.sum() / rated - 0.15) < 0.01
    assert not np.any(validation & test)
    assert not np.any((validation | test)[ratings.anime_row[parts.train]])
    assert np.all(test[ratings.anime_row[parts.test]])
    assert np.all(validation[ratings.anime_row[parts.validation]])
    trained = ratings.user_row[parts.train]
    assert np.isin(ratings.user_row[parts.test], trained).all()


def test_too_few_ratings_to_cut_are_refused(tables: Tables) -> None:
    ratings = tables.ratings
    one = Ratings(ratings.user_row[:1], ratings.anime_row[:1], ratings.rating[:1])
    with pytest.raises(DataError, match="too few to train, validate and test by users"):
        split(replace(tables, ratings=one), "users", SHARES, 0)


def halved(tables: Tables) -> Growth:
    """The tables as if half of the ratings, and all of some users and anime, had come later."""
    ratings, rng = tables.ratings, np.random.default_rng(1)
    late_user, late_anime = rng.random(len(tables.users)) < 0.2, rng.random(len(tables.anime)) < 0.2
    late = late_user[ratings.user_row] | late_anime[ratings.anime_row]
    late |= rng.random(len(ratings)) < 0.2
    order = np.argsort(late, kind="stable")
    after = replace(tables, ratings=ratings.at(order))
    before = replace(tables, ratings=ratings.at(order[: len(late) - late.sum()]))
    return Growth(before, after, np.arange(len(tables.anime)), 0, tables.refusals)


ASKED: tuple[Literal["validation", "test"], ...] = ("validation", "test")


@pytest.mark.parametrize("rule", ["ratings", "users", "anime"])
def test_what_was_held_out_still_is_when_ratings_come_and_those_are_cut_alike(
    tables: Tables, rule: Rule
) -> None:
    growth = halved(tables)
    before = split(growth.before, rule, SHARES, 0)
    after = continued(before, growth, rule, SHARES, 0)
    ratings, old = growth.tables.ratings, len(growth.before.ratings)
    for part in PARTS:
        now = getattr(after, part)
        np.testing.assert_array_equal(now[now < old], getattr(before, part))
    together = np.concatenate([after.known, after.validation, after.test])
    assert len(np.unique(together)) == len(together)
    assert np.array_equal(continued(before, growth, rule, SHARES, 0).test, after.test)
    trained, validated, tested = (
        set(ratings.user_row[rows].tolist()) for rows in (after.train, after.validation, after.test)
    )
    if rule == "ratings":
        for share, part in zip(SHARES, PARTS, strict=False):
            assert abs(np.mean(getattr(after, part) >= old) - len(growth.new) / len(ratings)) < 0.02
            assert abs(len(getattr(after, part)) / len(ratings) - share) < 0.01
    elif rule == "users":
        assert not trained & (validated | tested)
        assert not validated & tested
        assert len(together) == len(ratings)
    else:
        for part, asked in zip(ASKED, (validated, tested), strict=True):
            then, now = (each.listed(part, len(tables.anime)) for each in (before, after))
            assert np.all(then <= now)
            assert then.sum() < now.sum()
            assert not now[ratings.anime_row[after.train]].any()
            assert now[ratings.anime_row[getattr(after, part)]].all()
            assert asked <= trained


def test_a_split_is_kept_in_a_file(tables: Tables, tmp_path: Path) -> None:
    rules: tuple[Rule, ...] = ("users", "anime")
    for rule in rules:
        parts = split(tables, rule, SHARES, 0)
        parts.save(tmp_path / rule, len(tables.ratings))
        again = Split.load(tmp_path / rule)
        for part in PARTS:
            np.testing.assert_array_equal(getattr(parts, part), getattr(again, part))
        for asked in ASKED:
            then, now = (each.listed(asked, len(tables.anime)) for each in (parts, again))
            np.testing.assert_array_equal(then, now)
