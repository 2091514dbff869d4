"""What is fitted without epochs, and the file that keeps it."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from training.interactions.expectation import Expectation
from training.interactions.interactions import Ties
from training.personal.wide.alike import Alike
from training.personal.wide.crosses import Crosses
from training.personal.wide.genre_crosses import GenreCrosses
from training.run import load_tensors, save_tensors


class Fitted(NamedTuple):
    """What is fitted without epochs, and on which rows of the catalogue and the user table.

    `share`: float64[A], of all that is watched; `trained_anime`: bool[A]; `trained_users`: bool[U].
    """

    share: np.ndarray
    crosses: Crosses
    alike: Alike
    genres: GenreCrosses
    expectation: Expectation
    trained_anime: np.ndarray
    trained_users: np.ndarray

    def save(self, file: Path, made_of: str) -> None:
        """Write a safetensors file, whole or not at all. `made_of`: what it was fitted to."""
        genres = self.genres
        arrays = {
            "share": self.share,
            "candidate": self.crosses.candidate,
            "weight": self.crosses.weight,
            "alike": self.alike.watched,
            "likeness": self.alike.weight,
            "expected": self.expectation.anime,
            "mean": np.array(self.expectation.mean),
            "member": genres.member,
            "liking": genres.liking,
            "watching": genres.watching,
            "usual": genres.usual,
            "trained_anime": self.trained_anime,
            "trained_users": self.trained_users,
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        # One text: several would stand in the file in no fixed order.
        texts = json.dumps({"genres": genres.names, "made_of": made_of})
        save_tensors(file, tensors, texts=texts)

    def ties(self) -> Ties:
        """What ties each anime to others."""
        return Ties(self.crosses.matrix(), self.alike.matrix())

    @classmethod
    def kept(cls, file: Path, made_of: str) -> "Fitted | None":
        """What `save` wrote, where it was made of the same. Raises as `load` does."""
        if not file.exists():
            return None
        texts = load_tensors(file, torch.device("cpu"))[1].get("texts", "{}")
        return cls.load(file) if json.loads(texts).get("made_of") == made_of else None

    @classmethod
    def load(cls, file: Path) -> "Fitted":
        """Read what `save` wrote. Raises RunError, and KeyError where something is missing."""
        tensors, texts = load_tensors(file, torch.device("cpu"))
        saved = {name: tensor.numpy() for name, tensor in tensors.items()}
        genres = [saved[name] for name in ("member", "liking", "watching", "usual")]
        return cls(
            saved["share"],
            Crosses(saved["candidate"], saved["weight"]),
            Alike(saved["alike"], saved["likeness"]),
            GenreCrosses(tuple(json.loads(texts["texts"])["genres"]), *genres),
            Expectation(float(saved["mean"]), saved["expected"]),
            saved["trained_anime"],
            saved["trained_users"],
        )
