"""What a preset learns from the tables before training: fills, vocabularies and scalers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from anirank.errors import RunError
from bundles.files import write_json
from training.seed.settings import Column, SeedSettings
from training.seed.vocabularies import Vocabulary
from training.tables.tables import Ratings, Tables

Side = Literal["user", "anime"]
SIDES: tuple[Side, Side] = ("user", "anime")
VOCABULARIES, SCALERS = "vocabularies.json", "scalers.json"


@dataclass(frozen=True)
class Encoded:
    """One table in numbers: a row per user or per anime.

    `codes`: int64[rows, wide columns]; `deep`: float32[rows, deep columns], filled, not scaled.
    """

    codes: np.ndarray
    deep: np.ndarray


@dataclass(frozen=True)
class Encoders:
    """Fitted on the training rows (fills, as in the seed, on the whole tables).

    `fills`: what stands in for a missing number, by column. `vocabularies`: by column, wide ones
    and the texts among the deep ones. `mean`, `scale`: by deep column, weighted by how often its
    row is trained on.
    """

    settings: SeedSettings
    fills: dict[str, float]
    vocabularies: dict[str, Vocabulary]
    mean: dict[str, float]
    scale: dict[str, float]

    @classmethod
    def fit(cls, tables: Tables, settings: SeedSettings, rows: np.ndarray) -> "Encoders":
        """Fit on the ratings at `rows`, int64[n]."""
        counts = training_counts(tables, rows)
        fills = {
            column.name: _fill(_numbers(_table(tables, column.table)[column.name]), column.missing)
            for column in settings.deep
            if column.missing != "unknown"
        }
        vocabularies = {
            column.name: Vocabulary.fit(
                _texts(_table(tables, column.table)[column.name])[counts[column.table] > 0]
            )
            for column in (*settings.wide, *settings.deep)
            if column.missing == "unknown"
        }
        unscaled = cls(settings, fills, vocabularies, {}, {})
        mean: dict[str, float] = {}
        scale: dict[str, float] = {}
        for side in SIDES:
            scaler = StandardScaler()
            scaler.fit(unscaled.side(tables, side).deep, sample_weight=counts[side])
            names = settings.columns("deep", side)
            mean.update(zip(names, scaler.mean_.tolist(), strict=True))
            scale.update(zip(names, scaler.scale_.tolist(), strict=True))
        return cls(settings, fills, vocabularies, mean, scale)

    def side(self, tables: Tables, side: Side) -> Encoded:
        """The wide codes and the deep numbers of one table."""
        table = _table(tables, side)
        wide = [
            self.vocabularies[name].encode(_texts(table[name]))
            for name in self.settings.columns("wide", side)
        ]
        deep = [
            self._deep(table[column.name], column)
            for column in self.settings.deep
            if column.table == side
        ]
        return Encoded(np.stack(wide, axis=1), np.stack(deep, axis=1).astype(np.float32))

    def _deep(self, values: pd.Series, column: Column) -> np.ndarray:
        if column.missing == "unknown":
            return self.vocabularies[column.name].encode(_texts(values)).astype(np.float64)
        numbers = _numbers(values)
        missing = np.isnan(numbers)
        if column.missing == "zero-is-mean":
            missing |= numbers == 0
        return np.where(missing, self.fills[column.name], numbers)

    def standardise(self, deep: np.ndarray, side: Side) -> np.ndarray:
        """Standard-scaled deep columns of one table, float64[rows, columns]."""
        names = self.settings.columns("deep", side)
        mean = np.array([self.mean[name] for name in names])
        scale = np.array([self.scale[name] for name in names])
        return np.asarray((deep.astype(np.float64) - mean) / scale)

    def vocabulary_sizes(self) -> list[int]:
        """Number of codes of each wide column, the user's columns first."""
        return [
            self.vocabularies[name].size
            for side in SIDES
            for name in self.settings.columns("wide", side)
        ]

    def save(self, folder: Path) -> None:
        """Write vocabularies.json and scalers.json into `folder`."""
        values = {name: list(vocabulary.values) for name, vocabulary in self.vocabularies.items()}
        scalers = {"fills": self.fills, "mean": self.mean, "scale": self.scale}
        write_json(folder / VOCABULARIES, values, indent=None)
        write_json(folder / SCALERS, scalers)

    @classmethod
    def load(cls, folder: Path, settings: SeedSettings) -> "Encoders":
        """Read what `save` wrote. Raises RunError where it does not fit the preset."""
        try:
            values = json.loads((folder / VOCABULARIES).read_text("utf-8"))
            scalers = json.loads((folder / SCALERS).read_text("utf-8"))
            vocabularies = {name: Vocabulary(tuple(listed)) for name, listed in values.items()}
            encoders = cls(
                settings, scalers["fills"], vocabularies, scalers["mean"], scalers["scale"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder}: vocabularies or scalers cannot be read: {error}") from None
        encoders._check(folder)
        return encoders

    def _check(self, folder: Path) -> None:
        texts = {
            c.name for c in (*self.settings.wide, *self.settings.deep) if c.missing == "unknown"
        }
        deep = {column.name for column in self.settings.deep}
        if set(self.vocabularies) != texts:
            raise RunError(
                f"{folder / VOCABULARIES}: columns {sorted(self.vocabularies)}, "
                f"should be {sorted(texts)}"
            )
        if set(self.mean) != deep or set(self.scale) != deep:
            raise RunError(
                f"{folder / SCALERS}: columns {sorted(self.mean)}, should be {sorted(deep)}"
            )
        for name, vocabulary in self.vocabularies.items():
            if list(vocabulary.values) != sorted(set(vocabulary.values)):
                raise RunError(f"{folder / VOCABULARIES}: {name} is not in ascending order")


def training_counts(tables: Tables, rows: np.ndarray) -> dict[Side, np.ndarray]:
    """How often each user and each anime occurs among the ratings at `rows`, int64 each."""
    return {
        "user": np.bincount(tables.ratings.user_row[rows], minlength=len(tables.users)),
        "anime": np.bincount(tables.ratings.anime_row[rows], minlength=len(tables.anime)),
    }


def labels(tables: Tables, settings: SeedSettings, ratings: Ratings) -> np.ndarray:
    """What the preset predicts for each rating, float32[R].

    `Score` is the anime's community mean, missing ones filled with the catalogue's mean as in
    the seed; `rating` is the user's own.
    """
    if settings.label == "rating":
        return ratings.rating.astype(np.float32)
    score = tables.anime["score"].to_numpy(np.float64)
    filled = np.where(np.isnan(score), np.nanmean(score), score).astype(np.float32)
    return np.asarray(filled[ratings.anime_row])


def _table(tables: Tables, side: Side) -> pd.DataFrame:
    return tables.users if side == "user" else tables.anime


def _texts(values: pd.Series) -> pd.Series:
    """Label-encoder input: lists joined as in the source, "unknown" where nothing is known."""
    if values.dtype != object:
        return values
    joined = (", ".join(value) if isinstance(value, list) else value for value in values)
    return pd.Series([value or "unknown" for value in joined], index=values.index, dtype=object)


def _numbers(values: pd.Series) -> np.ndarray:
    """Numbers as they are, dates as days since 1970-01-01; NaN where missing, float64."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return ((values - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(np.float64)
    return values.to_numpy(np.float64)


def _fill(numbers: np.ndarray, how: str) -> float:
    known = numbers[~np.isnan(numbers)]
    if how == "zero-is-mean":
        known = known[known != 0]
    if not len(known):
        return 0.0
    return float(np.median(known) if how == "median" else np.mean(known))
