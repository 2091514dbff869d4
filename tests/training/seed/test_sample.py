from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from training.seed.sample import sample, stratified_sample, type_gender
from training.seed.settings import SeedSettings
from training.tables.orphans import Orphans
from training.tables.tables import Tables, detailed


def test_the_parts_share_no_rating_and_are_70_15_15(
    tables: Tables, seed_settings: SeedSettings
) -> None:
    parts = sample(tables, seed_settings)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(np.unique(rows)) == len(rows)
    joined = detailed(tables.users)[tables.ratings.user_row]
    assert abs(len(rows) - joined.sum() / 2) <= 30  # a half row a stratum at the most
    assert abs(len(parts.train) / len(rows) - 0.70) < 0.001
    assert abs(len(parts.test) / len(rows) - 0.15) < 0.001


def test_a_seed_fixes_the_split_and_another_changes_it(
    tables: Tables, seed_settings: SeedSettings
) -> None:
    once, again = sample(tables, seed_settings), sample(tables, seed_settings)
    other = sample(tables, seed_settings.model_copy(update={"seed": 1}))
    assert np.array_equal(once.train, again.train)
    assert not np.array_equal(once.train, other.train)


def test_every_type_and_gender_keeps_its_share(tables: Tables, seed_settings: SeedSettings) -> None:
    # The seed's column spelled out, beside the codes the split uses.
    anime, users = tables.anime, tables.users
    spelled = (
        anime["type"].fillna("UNKNOWN").to_numpy()[tables.ratings.anime_row]
        + "_"
        + users["gender"].fillna("unknown").to_numpy()[tables.ratings.user_row]
    )
    parts = sample(tables, seed_settings)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    joined = spelled[detailed(users)[tables.ratings.user_row]]
    for stratum in np.unique(spelled):
        assert abs((spelled[rows] == stratum).sum() - (joined == stratum).sum() / 2) <= 0.5
    pairs = {(code, text) for code, text in zip(type_gender(tables), spelled, strict=True)}
    assert len({code for code, _ in pairs}) == len({text for _, text in pairs}) == len(pairs)


def test_who_has_no_details_is_lost_unless_nobody_has_any(
    tables: Tables, seed_settings: SeedSettings
) -> None:
    everything = seed_settings.model_copy(update={"sample": 1.0})
    lost = Orphans.of(tables).ratings
    assert lost > 0
    assert sampled(tables, everything) == len(tables.ratings) - lost
    nothing = pd.DataFrame(index=tables.users.index, columns=tables.users.columns, dtype=object)
    nobody = replace(tables, users=nothing.assign(user_id=tables.users["user_id"]))
    assert sampled(nobody, everything) == len(tables.ratings)


def sampled(tables: Tables, settings: SeedSettings) -> int:
    parts = sample(tables, settings)
    return len(parts.train) + len(parts.validation) + len(parts.test)


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
