"""How the parts of a `personal` model add up."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bundles.files import write_json


@dataclass(frozen=True)
class Mix:
    """How the parts add up, chosen on validation.

    affinity = Σ_h (1 + taste · liked_h) cross[h, candidate] + genres · (what the candidate's genres
    add) + (deep · (H + 1) + ALONE / (H + 1)) · exp(logit), where H = 0 also + POPULAR · share.
    The ranking score is affinity + beta · (rating - mean).
    """

    taste: float = 0.0
    genres: float = 0.0
    deep: float = 0.0
    beta: float = 0.0
    mean: float = 0.0

    def save(self, file: Path) -> None:
        """Write a JSON file, whole or not at all."""
        write_json(file, asdict(self))

    @classmethod
    def load(cls, file: Path) -> "Mix":
        """Read what `save` wrote. Raises OSError, and ValueError where it is something else."""
        saved, names = json.loads(file.read_text("utf-8")), [field.name for field in fields(cls)]
        if not isinstance(saved, dict) or set(saved) != set(names) or not _finite(saved.values()):
            raise ValueError(f"{file.name} should hold {', '.join(names)}, a number each")
        return cls(**saved)


def _finite(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
