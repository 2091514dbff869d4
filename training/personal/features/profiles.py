"""What users say of themselves: the features that a request may state too."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anirank.errors import RunError
from bundles.files import write_json

GENDER = "gender"
YEARS = {"birth_year": "birthday", "joined_year": "joined"}  # feature: column of dates
# Counted by the dump over all ratings, those held out included: a leak, and opt-in for that.
AGGREGATES = ("days_watched", "mean_score", "completed", "total_entries", "episodes_watched")
YOUNGEST, OLDEST = 1920, 2020  # birth years outside are taken for jokes
FAR = 4.0  # standard deviations a number is cut at
FILE = "traits.json"


@dataclass(frozen=True)
class Profiles:
    """`genders`: values, coded from 1, 0 = unknown; `scale`: mean and deviation of each number."""

    genders: tuple[str, ...]
    scale: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, users: pd.DataFrame, trained: np.ndarray, aggregates: bool) -> "Profiles":
        """Fit on the users where `trained`, bool[U]; numbers that nobody states are left out."""
        scale = {}
        for name in (*YEARS, *(AGGREGATES if aggregates else ())):
            numbers = _numbers(users, name)[trained]
            known = numbers[~np.isnan(numbers)]
            if len(known):
                scale[name] = (float(known.mean()), float(known.std()) or 1.0)
        return cls(tuple(sorted(users[GENDER][trained].dropna().unique())), scale)

    @property
    def size(self) -> int:
        """Numbers in a row of `matrix`."""
        return len(self.genders) + len(self.scale)

    def stated(self, users: pd.DataFrame) -> np.ndarray:
        """float32[U, P], gender code first (0 = unknown): what each user states; NaN: no number."""
        code = pd.Index(self.genders).get_indexer(pd.Index(users[GENDER])) + 1
        numbers = [_numbers(users, name) for name in self.scale]
        return np.column_stack([code, *numbers]).astype(np.float32)

    def matrix(self, stated: np.ndarray) -> np.ndarray:
        """float64[n, T] of float32[n, P] as `stated` makes it; zeros where nothing is known."""
        hot = stated[:, :1] == np.arange(1, len(self.genders) + 1)
        parts = [hot]
        for column, (mean, deviation) in enumerate(self.scale.values(), start=1):
            scaled = np.nan_to_num((stated[:, column].astype(np.float64) - mean) / deviation)
            parts.append(np.clip(scaled, -FAR, FAR)[:, None])
        return np.hstack(parts).astype(np.float64)

    def save(self, folder: Path) -> None:
        """Write traits.json."""
        write_json(folder / FILE, asdict(self), indent=None)

    @classmethod
    def load(cls, folder: Path) -> "Profiles":
        """Read what `save` wrote. Raises RunError."""
        try:
            saved = json.loads((folder / FILE).read_text("utf-8"))
            scale = {name: (float(at), float(by)) for name, (at, by) in saved["scale"].items()}
            return cls(tuple(saved["genders"]), scale)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder / FILE}: cannot be read: {error}") from None


def _numbers(users: pd.DataFrame, name: str) -> np.ndarray:
    if name not in YEARS:
        return np.asarray(users[name].to_numpy(np.float64))
    years = users[YEARS[name]].dt.year.to_numpy(np.float64)
    if name == "birth_year":
        return np.where((years >= YOUNGEST) & (years <= OLDEST), years, np.nan)
    return np.asarray(years)
