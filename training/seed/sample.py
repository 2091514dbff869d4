"""The seed's sample of the ratings, stratified on Type_Gender, and its cut at random."""

import numpy as np

from anirank.errors import DataError
from training.seed.settings import SeedSettings
from training.splits import Split
from training.tables.tables import Tables, detailed

LEFT_OUT = -1  # in place of a stratum


def sample(tables: Tables, settings: SeedSettings) -> Split:
    """Sample the ratings, stratified on Type_Gender, and cut the sample at random.

    The seed's join with the users' details loses who has none, so their ratings are left out.
    Where nobody has any, all are kept: there is nothing to join with. The same tables, preset and
    seed give the same rows. Raises DataError where a part is empty.
    """
    rng = np.random.default_rng(settings.seed)
    strata, joined = type_gender(tables), detailed(tables.users)
    if joined.any():
        strata[~joined[tables.ratings.user_row]] = LEFT_OUT
    sampled = rng.permutation(stratified_sample(strata, settings.sample, rng))
    first = round(len(sampled) * settings.split[0])
    second = round(len(sampled) * (settings.split[0] + settings.split[1]))
    train, validation, test = map(np.ascontiguousarray, np.split(sampled, [first, second]))
    parts = Split(train, validation, test)
    if not min(len(parts.train), len(parts.validation), len(parts.test)):
        raise DataError(f"{len(sampled)} sampled ratings are too few to train, validate and test")
    return parts


def type_gender(tables: Tables) -> np.ndarray:
    """The seed's Type_Gender column as a code per rating, int16[R]."""
    types, type_names = tables.anime["type"].factorize(use_na_sentinel=False)
    genders, _ = tables.users["gender"].factorize(use_na_sentinel=False)
    code = genders.astype(np.int16) * len(type_names)
    return np.asarray(
        code[tables.ratings.user_row] + types.astype(np.int16)[tables.ratings.anime_row]
    )


def stratified_sample(strata: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """`fraction` of the rows of each stratum (to the nearest whole row), without replacement.

    None of those in the stratum `LEFT_OUT`.
    """
    chosen = []
    for stratum in range(int(strata.max(initial=-1)) + 1):
        rows = np.flatnonzero(strata == stratum)
        chosen.append(rng.permutation(rows)[: round(len(rows) * fraction)])
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
