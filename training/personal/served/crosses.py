"""The wide part beside the graph: the same tables for who wants to take a wide score apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.interactions.expectation import USER_DAMPING
from training.personal.model import PersonalModel
from training.personal.served.ranker import PersonalRanker
from training.personal.wide.genre_crosses import DAMPING


@dataclass(frozen=True)
class ServedCrosses:
    """One row an anime of the catalogue; `bundles/crosses.py` says what is made of it.

    `candidate`: int32[A, K], rows of the catalogue; `weight`: float32[A, K], 0 where there is no
    cross; `expected`: float64[A], the rating an anime lets expect; `genre`: bool[A, G], of which
    genres it is; `described`: the manifest's `wide`.
    """

    candidate: np.ndarray
    weight: np.ndarray
    expected: np.ndarray
    genre: np.ndarray
    described: dict[str, Any]

    @classmethod
    def of(cls, model: PersonalModel, ranker: PersonalRanker) -> "ServedCrosses":
        """The graph's own tables, without their row for unknown anime."""
        # Unused places point at that row, with weight 0.
        candidate = np.maximum(ranker.crossed[1:].numpy() - 1, 0)
        return cls(
            candidate=candidate.astype(np.int32),
            weight=ranker.cross_weights[1:].numpy(),
            expected=ranker.expected[1:].numpy(),
            genre=ranker.genre[1:].numpy().astype(np.bool_),
            described={
                "taste": model.mix.taste,
                "damping": USER_DAMPING,
                "genre_damping": DAMPING,
                "genres": _described(model, ranker),
            },
        )

    def write(self, folder: Path) -> None:
        """Write the arrays as .npy files to a new folder."""
        folder.mkdir()
        for name in ("candidate", "weight", "expected", "genre"):
            np.save(folder / f"{name}.npy", getattr(self, name))


def _described(model: PersonalModel, ranker: PersonalRanker) -> list[dict[str, Any]]:
    columns = (ranker.genre_liking, ranker.genre_watching, ranker.genre_usual)
    numbers = zip(model.genres.names, *(column.tolist() for column in columns), strict=False)
    return [
        {"name": name, "liking": liking, "watching": watching, "usual": usual}
        for name, liking, watching, usual in numbers
    ]
