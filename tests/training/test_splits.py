from dataclasses import replace

import numpy as np
import pytest

from anirank.errors import DataError
from training.splits import Rule, split, split_anime, split_users
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
