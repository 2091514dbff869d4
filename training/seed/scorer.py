"""The `seed` preset, trained on the rating, as something to compare with."""

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from training.loop.progress import Progress
from training.seed.batches import Batches
from training.seed.encoders import SIDES, Side
from training.seed.run import SeedRun
from training.seed.settings import SEED
from training.seed.trainer import EVALUATION_BATCH, SeedTrainer
from training.splits import Split
from training.tables.tables import Ratings, Tables

# Where there are enough ratings for it: several times as fast as the preset's own batch of 256 at
# rate 0.001, and no worse on average.
ENOUGH, BATCH_SIZE, LEARNING_RATE = 100_000, 4096, 0.01
PAIRS_AT_ONCE = 1 << 12  # through the hidden layers: 2 MB of the first, which a core's cache holds


class SeedScorer:
    """Its best epoch on validation."""

    def __init__(self, tables: Tables, parts: Split, seed: int) -> None:
        large = {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        given = large if len(parts.train) >= ENOUGH else {}
        settings = SEED.resolved(label="rating", seed=seed, **given)
        with tempfile.TemporaryDirectory() as folder:
            run = SeedRun.create(Path(folder) / "seed", settings, tables)
            trainer = SeedTrainer(run, tables, torch.device("cpu"), parts)
            with Progress(Console(quiet=True), settings.optimisation.epochs) as progress:
                if not trainer.fit(progress):
                    raise KeyboardInterrupt
            self.tables, self.encoders = tables, trainer.encoders
            self.model = run.model(trainer.encoders)

    @torch.inference_mode()
    def ratings(self, user: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """Predictions for pairs of rows, int64[n] each; float64[n]."""
        unrated = np.zeros(len(user), dtype=np.int8)
        pairs = Ratings(user.astype(np.int32), anime.astype(np.int32), unrated)
        batches = Batches(self.tables, self.encoders, pairs, torch.device("cpu"))
        found = [
            self.model(batch.codes, batch.deep)
            for batch in batches.gather(torch.arange(len(user)), EVALUATION_BATCH)
        ]
        return np.asarray(torch.cat(found).double().numpy())

    @torch.inference_mode()
    def scores(self, users: np.ndarray, anime: np.ndarray) -> np.ndarray:
        """Predictions for every pair of rows, float32[B, M].

        The first layer is linear, so that each side goes through its part of it once.
        """
        wide, deep = zip(*self._sides(users, anime), strict=True)
        layers = self.model.deep
        predicted = torch.empty(len(users), len(anime))
        for row in range(len(users)):
            for start in range(0, len(anime), PAIRS_AT_ONCE):
                at = slice(start, start + PAIRS_AT_ONCE)
                units = deep[0][row] + deep[1][at]
                for layer in list(layers)[1:]:
                    units = layer(units)
                joined = F.linear(units, self.model.head.weight[:, -units.shape[1] :])
                predicted[row, at] = wide[0][row] + wide[1][at] + joined.squeeze(1)
        return np.asarray((predicted + self.model.head.bias).numpy())

    @cached_property
    def _encoded(self) -> dict[Side, tuple[np.ndarray, np.ndarray]]:
        """Wide codes, int64[rows, W], and scaled deep numbers, float32[rows, D], of both tables.

        Texts of 731,290 users take seconds to encode: once for all who are asked about.
        """
        encoded = {side: self.encoders.side(self.tables, side) for side in SIDES}
        return {
            side: (each.codes, self.encoders.standardise(each.deep, side).astype(np.float32))
            for side, each in encoded.items()
        }

    def _sides(self, users: np.ndarray, anime: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """What each side gives to the sum of the wide part, and to the first layer."""
        first, model = self.model.deep[0], self.model
        assert isinstance(first, torch.nn.Linear)
        wide_at = deep_at = 0
        for side, rows in zip(SIDES, (users, anime), strict=True):
            every_code, every_scaled = self._encoded[side]
            codes, scaled = torch.from_numpy(every_code[rows]), every_scaled[rows]
            columns = slice(wide_at, wide_at + codes.shape[1])
            embedded = F.embedding(codes + model.wide_offsets[columns], model.wide.weight)
            weight = first.weight[:, deep_at : deep_at + scaled.shape[1]]
            bias = first.bias if side == "user" else None
            yield (
                (embedded * model.wide_head[columns]).sum(dim=(1, 2)),
                F.linear(torch.from_numpy(scaled), weight, bias),
            )
            wide_at, deep_at = columns.stop, deep_at + scaled.shape[1]
