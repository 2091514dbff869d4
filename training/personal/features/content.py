"""What an anime is, apart from who watched it: its content as one row of numbers."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anirank.errors import RunError
from bundles.files import write_json

LISTS = {"genres": 1, "studios": 5, "producers": 10}  # column: titles a value needs to count
CATEGORIES = ("type", "source", "age_rating")
NUMBERS = ("air_start", "episodes", "duration_minutes")
# Counted by the dump over all ratings, those held out included: a leak, and opt-in for that.
AGGREGATES = ("score", "popularity", "favorites", "members", "scored_by")
DAYS_PER_YEAR = 365.25
FAR = 4.0  # standard deviations a number is cut at
FILE = "content.json"


@dataclass(frozen=True)
class Content:
    """Values that have a column each, and the mean and deviation of every number."""

    values: dict[str, list[str]]
    scale: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, anime: pd.DataFrame, trained: np.ndarray, aggregates: bool) -> "Content":
        """Fit on the rows of the catalogue where `trained`, bool[A]."""
        values = {}
        for name, least in LISTS.items():
            counts = Counter(each for listed in anime[name][trained] for each in set(listed))
            values[name] = sorted(each for each, count in counts.items() if count >= least)
        for name in CATEGORIES:
            values[name] = sorted(anime[name][trained].dropna().unique().tolist())
        scale = {}
        for name in (*NUMBERS, *(AGGREGATES if aggregates else ())):
            numbers = _numbers(anime, name)[trained]
            known = numbers[~np.isnan(numbers)]
            scale[name] = (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0, 1)
        return cls(values, scale)

    @property
    def size(self) -> int:
        """Numbers in a row of `matrix`."""
        return sum(map(len, self.values.values())) + 2 * len(self.scale)

    def matrix(self, anime: pd.DataFrame) -> np.ndarray:
        """float32[A, F]: values of a list share one unit of length; a number has a flag beside
        it where it is missing."""
        parts = []
        for name, values in self.values.items():
            listed = anime[name] if name in LISTS else anime[name].map(_as_list)
            parts.append(_hot(listed, {value: at for at, value in enumerate(values)}))
        for name, (mean, deviation) in self.scale.items():
            scaled = (_numbers(anime, name) - mean) / deviation
            missing = np.isnan(scaled)
            parts.append(
                np.column_stack([np.clip(np.where(missing, 0, scaled), -FAR, FAR), missing])
            )
        return np.hstack(parts).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write content.json."""
        write_json(folder / FILE, asdict(self), indent=None)

    @classmethod
    def load(cls, folder: Path) -> "Content":
        """Read what `save` wrote. Raises RunError."""
        try:
            saved = json.loads((folder / FILE).read_text("utf-8"))
            scale = {
                name: (float(mean), float(dev)) for name, (mean, dev) in saved["scale"].items()
            }
            content = cls(saved["values"], scale)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder / FILE}: cannot be read: {error}") from None
        return content


def _as_list(value: object) -> list[object]:
    return [value] if isinstance(value, str) else []


def _hot(listed: pd.Series, place: dict[str, int]) -> np.ndarray:
    hot = np.zeros((len(listed), len(place)), dtype=np.float32)
    for row, values in enumerate(listed):
        columns = [place[value] for value in set(values) if value in place]
        if columns:
            hot[row, columns] = len(columns) ** -0.5
    return hot


def _numbers(anime: pd.DataFrame, name: str) -> np.ndarray:
    if name == "air_start":
        days = (anime[name] - pd.Timestamp(0)) / pd.Timedelta(days=1)
        return np.asarray(days.to_numpy(np.float64) / DAYS_PER_YEAR)
    return np.asarray(np.log1p(anime[name].to_numpy(np.float64)))
