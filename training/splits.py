"""The stratified sample of the ratings and its cut into training, validation and test rows."""

from dataclasses import dataclass

import numpy as np

from training.errors import DataError
from training.presets import Preset
from training.tables import Tables


@dataclass(frozen=True)
class Split:
    """Rows of `Tables.ratings`, int64 each, disjoint."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(tables: Tables, preset: Preset) -> Split:
    """Sample the ratings, stratified on Type_Gender, and cut the sample at random.

    The same tables, preset and seed give the same rows. Raises DataError where a part is empty.
    """
    rng = np.random.default_rng(preset.seed)
    sampled = rng.permutation(stratified_sample(type_gender(tables), preset.sample, rng))
    first = round(len(sampled) * preset.split[0])
    second = round(len(sampled) * (preset.split[0] + preset.split[1]))
    parts = Split(*(np.ascontiguousarray(part) for part in np.split(sampled, [first, second])))
    if not min(len(parts.train), len(parts.validation), len(parts.test)):
        raise DataError(f"{len(sampled)} sampled ratings are too few to train, validate and test")
    return parts


def split_by_user(tables: Tables, parts: tuple[float, float, float], seed: int) -> Split:
    """Cut each user's ratings at random into `parts`, shares of training, validation and test.

    A user of few ratings keeps the first for training. The same tables and seed give the same rows.
    """
    user = tables.ratings.user_row
    draw = np.random.default_rng(seed).random(len(user))
    order = np.lexsort((draw, user))
    counts = np.bincount(user, minlength=len(tables.users))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    place = (np.arange(len(user)) - starts + 0.5) / np.repeat(counts, counts)
    ends = (parts[0], parts[0] + parts[1])
    cuts = [place < ends[0], (place >= ends[0]) & (place < ends[1]), place >= ends[1]]
    split = Split(*(np.sort(order[cut]) for cut in cuts))
    if not min(len(split.train), len(split.validation), len(split.test)):
        raise DataError(f"{len(user)} ratings are too few to train, validate and test")
    return split


def type_gender(tables: Tables) -> np.ndarray:
    """The seed's Type_Gender column as a code per rating, int16[R]."""
    types, type_names = tables.anime["type"].factorize(use_na_sentinel=False)
    genders, _ = tables.users["gender"].factorize(use_na_sentinel=False)
    code = genders.astype(np.int16) * len(type_names)
    return np.asarray(
        code[tables.ratings.user_row] + types.astype(np.int16)[tables.ratings.anime_row]
    )


def stratified_sample(strata: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """`fraction` of the rows of each stratum (to the nearest whole row), without replacement."""
    chosen = []
    for stratum in range(int(strata.max(initial=-1)) + 1):
        rows = np.flatnonzero(strata == stratum)
        chosen.append(rng.permutation(rows)[: round(len(rows) * fraction)])
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
