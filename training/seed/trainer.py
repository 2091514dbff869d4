"""The training loop: from a run begun to its best epoch."""

import json
import math
import threading

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anirank.errors import RunError
from training.loop.interruption import interruptible
from training.loop.progress import Progress
from training.loop.schedule import learning_rates
from training.run import load_tensors, save_tensors
from training.seed.batches import Batches
from training.seed.encoders import SIDES, Encoders, training_counts
from training.seed.network import SeedNetwork
from training.seed.optimiser import RowAdam
from training.seed.run import SeedRun
from training.seed.sample import sample
from training.splits import Split
from training.tables.tables import Tables

EVALUATION_BATCH = 1 << 16


class SeedTrainer:
    """A model on its way through the epochs of a run.

    `parts`: rows to train on and to validate with in place of the preset's own.
    """

    def __init__(
        self,
        run: SeedRun,
        tables: Tables,
        device: torch.device,
        parts: Split | None = None,
    ) -> None:
        if tables.fingerprint != run.fingerprint:
            raise RunError(f"{run.folder}: was begun on other data (the fingerprints differ)")
        self.run, self.optimisation, self.seed = run, run.settings.optimisation, run.settings.seed
        self.parts = parts or sample(tables, run.settings)
        self.encoders = Encoders.fit(tables, run.settings, self.parts.train)
        self.encoders.save(run.folder)
        self.batches = Batches(tables, self.encoders, tables.ratings, device)
        torch.manual_seed(self.seed)
        self.model = run.new_model(self.encoders).to(device)
        self.usual = _usual_rows(self.model, self.encoders, tables, self.parts)
        batches = math.ceil(len(self.parts.train) / self.optimisation.batch_size)
        self.rates = learning_rates(self.optimisation, batches)
        self.table_adam = RowAdam(self.model.wide_table, self.rates)
        self.column = torch.bucketize(
            torch.arange(len(self.model.wide_table), device=device),
            self.model.wide_offsets[1:],
            right=True,
        )
        self.present = torch.zeros(len(self.model.wide_table), dtype=torch.bool, device=device)
        self.place = torch.zeros(len(self.model.wide_table), dtype=torch.int64, device=device)
        dense = [p for p in self.model.parameters() if p is not self.model.wide_table]
        self.dense_adam = torch.optim.Adam(dense, fused=True)
        self.epoch, self.batch, self.squares, self.best = 0, 0, 0.0, math.inf

    def fit(self, progress: Progress) -> bool:
        """Train to the last epoch; False where a signal ended it before, at a batch's end."""
        with interruptible() as interrupted:
            while self.epoch < self.optimisation.epochs:
                if not self._run_epoch(progress, interrupted):
                    self._pause()
                    return False
                self._close_epoch(progress)
        return True

    def _run_epoch(self, progress: Progress, interrupted: threading.Event) -> bool:
        size = self.optimisation.batch_size
        rows = self.batches.shuffled(self.parts.train, self.seed, self.epoch)
        if self.batch == 0:
            torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        progress.start_epoch(self.epoch + 1, len(rows), self.batch * size)
        self.model.train()
        for batch in self.batches.gather(rows[self.batch * size :], size):
            loss = self._step(*batch)
            self.squares += loss * len(batch.label)
            self.batch += 1
            progress.advance(len(batch.label), loss)
            if interrupted.is_set():
                return False
        return True

    def _step(self, codes: Tensor, deep: Tensor, label: Tensor) -> float:
        rows, places = self._distinct(codes + self.model.wide_offsets)
        values = self.table_adam.read(rows)
        # An embedding meets only the last layer, so each distinct one is joined with it once,
        # and the batch gathers the numbers that come out: a 16th of what it would gather else.
        seen = (values * self.model.wide_head[self.column.index_select(0, rows)]).sum(dim=1)
        wide = seen.index_select(0, places.flatten()).view_as(places).sum(dim=1)
        loss = F.mse_loss(self.model.join(wide, deep), label)
        self.dense_adam.zero_grad()
        loss.backward()
        self.dense_adam.param_groups[0]["lr"] = self.rates[self.table_adam.step]
        assert values.grad is not None
        self.table_adam.update(values.grad)
        self.dense_adam.step()
        return float(loss.detach())

    def _distinct(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct rows, int64[R], and where each one of `rows` stands among them."""
        # A look at the whole table costs less than sorting a batch.
        flat = rows.flatten()
        self.present.zero_().scatter_(0, flat, True)
        distinct = self.present.nonzero().squeeze(1)
        self.place.index_copy_(0, distinct, torch.arange(len(distinct), device=rows.device))
        return distinct, self.place.index_select(0, flat).view_as(rows)

    def _close_epoch(self, progress: Progress) -> None:
        self._settle()
        validation = mean_squared_error(self.model, self.batches, self.parts.validation)
        train = self.squares / len(self.parts.train)
        self.epoch, self.batch, self.squares = self.epoch + 1, 0, 0.0
        rate = float(self.rates[self.table_adam.step - 1])
        line = self.run.record(self.epoch, train, validation, rate, *progress.finish_epoch())
        if validation < self.best:
            self.best = validation
            self.run.save_weights(self.model)
        self._save_state()
        progress.report(line)

    def _settle(self) -> None:
        """Bring the table up to date, its unknown rows to the mean of those trained on."""
        self.table_adam.settle()
        with torch.no_grad():
            ends = [*self.model.wide_offsets.tolist()[1:], len(self.usual)]
            for start, end in zip(self.model.wide_offsets.tolist(), ends, strict=True):
                table = self.model.wide.weight[start:end]
                table[0] = self.usual[start:end] @ table

    def _pause(self) -> None:
        """Leave a run that can be used and continued."""
        self._save_state()
        if math.isinf(self.best):  # no epoch has ended: the present weights are the best there are
            self._settle()
            self.run.save_weights(self.model)

    def _save_state(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"table.{name}": tensor for name, tensor in self.table_adam.state().items()}
        for index, state in self.dense_adam.state_dict()["state"].items():
            tensors |= {f"dense.{index}.{name}": tensor for name, tensor in state.items()}
        tensors["random"] = torch.get_rng_state()
        place = {"epoch": self.epoch, "batch": self.batch, "squares": self.squares}
        save_tensors(self.run.state_file, tensors, place=json.dumps(place | {"best": self.best}))

    def resume(self) -> None:
        """Take up the run where it stopped. Raises RunError where it cannot be read.

        One that was killed before it had kept any state begins again.
        """
        if not self.run.state_file.exists():
            return
        tensors, metadata = load_tensors(self.run.state_file, self.batches.device)
        try:
            self.model.load_state_dict(_under("model.", tensors))
            self.table_adam.restore(_under("table.", tensors))
            adam = self.dense_adam.state_dict()
            for name, tensor in _under("dense.", tensors).items():
                index, _, field = name.partition(".")
                adam["state"].setdefault(int(index), {})[field] = tensor
            self.dense_adam.load_state_dict(adam)
            torch.set_rng_state(tensors["random"].cpu())
            place = json.loads(metadata["place"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise RunError(f"{self.run.state_file}: does not fit the run: {error}") from None
        self.epoch, self.batch = place["epoch"], place["batch"]
        self.squares, self.best = place["squares"], place["best"]


@torch.inference_mode()
def mean_squared_error(model: SeedNetwork, batches: Batches, rows: np.ndarray) -> float:
    """Mean squared error of the model over the ratings at `rows`, int64[n]."""
    model.eval()
    squares = sum(
        float(F.mse_loss(model(batch.codes, batch.deep), batch.label, reduction="sum"))
        for batch in batches.gather(torch.from_numpy(rows).to(batches.device), EVALUATION_BATCH)
    )
    return squares / len(rows)


def _usual_rows(model: SeedNetwork, encoders: Encoders, tables: Tables, parts: Split) -> Tensor:
    """Each table row's share of its column's training rows, float32[table rows]."""
    counts = training_counts(tables, parts.train)
    shares = []
    sizes = iter(encoders.vocabulary_sizes())
    for side in SIDES:
        for codes in encoders.side(tables, side).codes.T:
            column = np.bincount(codes, weights=counts[side], minlength=next(sizes))
            shares.append(column / column.sum())
    return torch.from_numpy(np.concatenate(shares).astype(np.float32)).to(model.wide_offsets.device)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
