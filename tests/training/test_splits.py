from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anirank.errors import DataError
from training.presets import SeedPreset, resolve
from training.splits import (
    personal_split,
    split,
    split_anime,
    split_users,
    stratified_sample,
    type_gender,
)
from training.tables.tables import Ratings, Tables

SHARES = (0.7, 0.15, 0.15)


def test_the_parts_share_no_rating_and_are_70_15_15(tables: Tables, preset: SeedPreset) -> None:
    parts = split(tables, preset)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(np.unique(rows)) == len(rows)
    assert abs(len(rows) - len(tables.ratings) / 2) <= 30  # a half row a stratum at the most
    assert abs(len(parts.train) / len(rows) - 0.70) < 0.001
    assert abs(len(parts.test) / len(rows) - 0.15) < 0.001


def test_a_seed_fixes_the_split_and_another_changes_it(tables: Tables, preset: SeedPreset) -> None:
    once, again = split(tables, preset), split(tables, preset)
    other = split(tables, preset.model_copy(update={"seed": 1}))
    assert np.array_equal(once.train, again.train)
    assert not np.array_equal(once.train, other.train)


def test_every_type_and_gender_keeps_its_share(tables: Tables, preset: SeedPreset) -> None:
    # The seed's column spelled out, beside the codes the split uses.
    anime, users = tables.anime, tables.users
    spelled = (
        anime["type"].fillna("UNKNOWN").to_numpy()[tables.ratings.anime_row]
        + "_"
        + users["gender"].fillna("unknown").to_numpy()[tables.ratings.user_row]
    )
    parts = split(tables, preset)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    for stratum in np.unique(spelled):
        assert abs((spelled[rows] == stratum).sum() - (spelled == stratum).sum() / 2) <= 0.5
    pairs = {(code, text) for code, text in zip(type_gender(tables), spelled, strict=True)}
    assert len({code for code, _ in pairs}) == len({text for _, text in pairs}) == len(pairs)


@given(
    strata=st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array),
    fraction=st.floats(0.05, 1.0),
    seed=st.integers(0, 99),
)
def test_a_stratified_sample_takes_the_fraction_of_each_stratum(
    strata: np.ndarray, fraction: float, seed: int
) -> None:
    rows = stratified_sample(strata, fraction, np.random.default_rng(seed))
    assert len(np.unique(rows)) == len(rows)
    wanted = [round(count * fraction) for count in np.bincount(strata, minlength=5)]
    assert np.bincount(strata[rows], minlength=5).tolist() == wanted


@pytest.mark.parametrize("split_by", ["ratings", "users", "anime"])
def test_however_cut_no_rating_is_in_two_parts_and_a_seed_fixes_them(
    tables: Tables, split_by: str
) -> None:
    preset = resolve("personal", split_by=split_by)
    parts, again = personal_split(tables, preset), personal_split(tables, preset)
    other = personal_split(tables, resolve("personal", split_by=split_by, seed=1))
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
        personal_split(replace(tables, ratings=one), resolve("personal", split_by="users"))
