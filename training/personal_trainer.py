"""The training of the `personal` preset: crosses in closed form, then the network beside them.

A step takes some users, hides a share of what each has watched, and asks for the hidden part from
the rest: a target never stands in the history it is predicted from. The crosses a user is trained
beside were fitted without that user, so that the network sees of them what it will see of ratings
that nobody was fitted on.
"""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.content import Content
from training.crosses import Crosses
from training.errors import RunError
from training.expectation import Expectation
from training.histories import Interactions
from training.network import History
from training.personal import Mix, Personal, new_network, save_mix, save_wide
from training.plots import plot_learning
from training.progress import Progress
from training.ranking import LIKED, Relevant, ndcg, top
from training.run import PersonalRun, load_tensors, save_tensors, write_text
from training.splits import personal_split
from training.tables import Tables
from training.trainer import interruptible, learning_rates

HIDDEN = (0.05, 0.5)  # share of a history that is asked for, drawn per user
NOTHING = 0.05  # share of users who are asked for without any history
VALIDATED_USERS = 2_000
CLIP = 5.0  # norm of a gradient
TASTES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
DEEPS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3)
BETAS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05)


class PersonalTrainer:
    """A `personal` model on its way through the epochs of a run."""

    def __init__(self, run: PersonalRun, tables: Tables, device: torch.device) -> None:
        if tables.fingerprint != run.fingerprint:
            raise RunError(f"{run.folder}: was begun on other data (the fingerprints differ)")
        self.run, self.preset, self.device = run, run.preset, device
        self.ratings, self.users = tables.ratings, len(tables.users)
        self.parts = personal_split(tables, self.preset)
        train, anime = self.parts.train, len(tables.anime)
        self.expectation = Expectation.fit(self.ratings, train, anime)
        self.interactions = Interactions.of(self.ratings, train, self.expectation, self.users)
        self.known = Interactions.of(self.ratings, self.parts.known, self.expectation, self.users)
        trained = np.bincount(self.ratings.anime_row[train], minlength=anime) > 0
        self.trained = torch.from_numpy(trained).to(device)
        content = Content.fit(tables.anime, trained)
        content.save(run.folder)
        rng = np.random.default_rng(self.preset.seed)
        self.fold = rng.integers(self.preset.folds, size=self.users)
        self.crosses = self._fit_crosses(trained)
        torch.manual_seed(self.preset.seed)
        network = new_network(run, tables, content, self.expectation).to(device)
        counts = self.trained_counts()
        with torch.no_grad():
            share = torch.log((counts + 1) / (counts + 1).sum())
            network.appeal_id.weight[1:, 0] = share
            network.appeal_id.weight[0] = share.min()
        mix = Mix(mean=self.expectation.mean)
        self.model = Personal(network, self.crosses[-1], self.expectation, trained, mix)
        self.network = network
        steps = sum(
            math.ceil(np.sum(self.fold == fold) / self.preset.optimisation.batch_size)
            for fold in range(self.preset.folds)
        )
        self.steps = steps
        self.rates = learning_rates(self.preset.optimisation, steps)
        self.adam = torch.optim.Adam(self._groups())
        self.epoch, self.best = 0, math.inf

    def trained_counts(self) -> Tensor:
        """How often each anime was watched among the training ratings, float32[A]."""
        watched = self.interactions.watched
        counts = np.bincount(watched.indices, minlength=watched.shape[1])
        return torch.from_numpy(counts.astype(np.float32)).to(self.device)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters for Adam: only the tables of ids are drawn towards zero."""
        ids: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            is_table = "_id." in name and not name.startswith("appeal")
            (ids if is_table else others).append(parameter)
        return [{"params": ids, "weight_decay": self.preset.weight_decay}, {"params": others}]

    def _fit_crosses(self, trained: np.ndarray) -> list[sp.csr_array]:
        """One fitted without the users of each fold, then the one of all users, which is kept."""
        watched, preset = self.interactions.watched, self.preset
        fitted = []
        for fold in range(preset.folds + 1):
            users = np.flatnonzero(self.fold != fold)
            crosses = Crosses.fit(
                watched[users],
                preset.ridge,
                preset.cross_weights,
                preset.user_exponent,
                self.device,
            )
            fitted.append(crosses.matrix())
        save_wide(self.run, crosses, self.expectation, trained)
        return fitted

    def fit(self, progress: Progress) -> bool:
        """Train to the last epoch; False where a signal ended it before.

        An epoch that was stopped is trained again, whole, by `resume`.
        """
        if not (self.run.folder / "mix.json").exists():
            save_mix(self.run, self.model.mix)
            self.run.save_weights(self.network)
        with interruptible() as interrupted:
            while self.epoch < self.preset.optimisation.epochs:
                seed = self.preset.seed * 1_000_003 + self.epoch
                rng = np.random.default_rng(seed)
                torch.manual_seed(seed)
                batches = self._batches(rng)
                progress.start_epoch(self.epoch + 1, self.users, 0)
                squares = asked = 0.0
                for step, (fold, users) in enumerate(batches):
                    loss, count = self._step(fold, users, self.epoch * self.steps + step, rng)
                    squares, asked = squares + loss * count, asked + count
                    progress.advance(len(users), loss)
                    if interrupted.is_set():
                        return False
                self._close_epoch(progress, squares / max(asked, 1))
        self._choose_mix()
        return True

    def _batches(self, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
        size, batches = self.preset.optimisation.batch_size, []
        for fold in range(self.preset.folds):
            users = rng.permutation(np.flatnonzero(self.fold == fold))
            batches += [(fold, users[at : at + size]) for at in range(0, len(users), size)]
        return [batches[at] for at in rng.permutation(len(batches))]

    def _step(
        self, fold: int, users: np.ndarray, step: int, rng: np.random.Generator
    ) -> tuple[float, int]:
        whole = self.interactions.at(users)
        counts = np.diff(whole.watched.indptr)
        share = rng.uniform(*HIDDEN, size=len(users))
        share[rng.random(len(users)) < NOTHING] = 1.0
        kept = rng.random(whole.watched.nnz) >= np.repeat(share, counts)
        rest, user, anime = whole.parted(kept)
        if not len(user):
            return 0.0, 0
        history = rest.history(self.crosses[fold], self.device)
        hidden = (rng.random(len(users)) < self.preset.id_dropout) | (share == 1.0)
        ids = torch.from_numpy(np.where(hidden, 0, users + 1)).to(self.device)
        shown = torch.rand(len(self.trained), device=self.device) >= self.preset.id_dropout / 3
        anime_ids = torch.where(shown, self.model.ids, 0)
        row, column = (
            torch.from_numpy(user).to(self.device),
            torch.from_numpy(anime).to(self.device),
        )
        truth = torch.from_numpy(self._truth(whole, kept, anime)).to(self.device)
        self.network.train()
        encoded = self.network.encode(history, ids, anime_ids)
        logits = self.network.logits(encoded)
        watching = self._watching(logits, rest, history, row, column)
        rated = self.network.rating(history, encoded, row, column, anime_ids[column])
        squares = F.mse_loss(rated, truth)
        self.adam.zero_grad()
        torch.autograd.backward(watching + squares)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        for group in self.adam.param_groups:
            group["lr"] = self.rates[step]
        self.adam.step()
        return float(squares.detach()), len(truth)

    def _truth(self, whole: Interactions, kept: np.ndarray, anime: np.ndarray) -> np.ndarray:
        residual = whole.residual.data[~kept]
        rating = residual + self.expectation.mean + self.expectation.anime[anime]
        return np.asarray(rating.astype(np.float32))

    def _watching(
        self, logits: Tensor, rest: Interactions, history: History, row: Tensor, column: Tensor
    ) -> Tensor:
        """Poisson form of the softmax loss over what each user has not shown to have watched:
        mean of -logit over the targets, plus the sum of exp(logit), which it draws to 1."""
        open_ = self.trained.float().expand(len(logits), -1).clone()
        watched = rest.watched.tocoo()
        open_[watched.row, watched.col] = 0
        totals = (logits.exp() * open_).sum(1)
        targets = torch.bincount(row, minlength=len(logits)).to(logits.dtype)
        # A user of many targets says more, though not as much more as they are.
        weight = targets.sqrt()
        drawn = (logits[row, column] / targets.sqrt()[row]).sum()
        return ((weight * totals).sum() - drawn) / weight.sum()

    def _close_epoch(self, progress: Progress, train: float) -> None:
        self.epoch += 1
        validation = self._validation_loss()
        seconds, samples_per_s = progress.finish_epoch()
        line = {
            "epoch": self.epoch,
            "train_loss": train,
            "train_rmse": math.sqrt(train),
            "validation_loss": validation,
            "validation_rmse": math.sqrt(validation),
            "learning_rate": float(self.rates[self.epoch * self.steps - 1]),
            "samples_per_s": samples_per_s,
            "seconds": seconds,
        }
        lines = [*self.run.metrics()[: self.epoch - 1], line]
        write_text(self.run.metrics_file, "".join(json.dumps(each) + "\n" for each in lines))
        # The rate falls to zero: the last weights rank best even where the rating's error has
        # begun to rise by a hair.
        self.run.save_weights(self.network)
        self._save_state()
        plot_learning(self.run)
        progress.report(line)

    def _validation_loss(self) -> float:
        rows = self.parts.validation
        chosen = np.isin(self.ratings.user_row[rows], self._validated())
        rows = rows[chosen]
        user, anime = self.ratings.user_row[rows], self.ratings.anime_row[rows]
        predicted = self.model.ratings(self.known, user.astype(np.int64), anime)
        return float(np.mean((predicted - self.ratings.rating[rows]) ** 2))

    def _validated(self) -> np.ndarray:
        users = np.unique(self.ratings.user_row[self.parts.validation]).astype(np.int64)
        rng = np.random.default_rng(self.preset.seed)
        return np.sort(rng.permutation(users)[:VALIDATED_USERS])

    def _choose_mix(self) -> None:
        """One part after another, twice over, by NDCG@10 on validation.

        The smaller gain over the crosses alone counts: of all that was held out, or of what was
        liked.
        """
        floor = np.array(self._ndcg(Mix(mean=self.expectation.mean)))
        mix, reached = Mix(mean=self.expectation.mean), 1.0
        for part, choices in (("deep", DEEPS), ("taste", TASTES), ("beta", BETAS)) * 2:
            for value in choices:
                tried = replace(mix, **{part: value})
                gain = float(np.min(np.array(self._ndcg(tried)) / np.maximum(floor, 1e-9)))
                if gain > reached:
                    mix, reached = tried, gain
        self.model.mix = mix
        save_mix(self.run, mix)

    def _ndcg(self, mix: Mix) -> tuple[float, float]:
        self.model.mix = mix
        users, rows = self._validated(), self.parts.validation
        shape = self.interactions.watched.shape
        unlisted = ~self.parts.listed("validation", shape[1])
        gains: list[list[np.ndarray]] = [[], []]
        liked = rows[self.ratings.rating[rows] >= LIKED]
        relevant = [
            Relevant.of(self.ratings.user_row[at], self.ratings.anime_row[at], shape)
            for at in (rows, liked)
        ]
        for batch in self.model.scores(self.known, users):
            score = batch.score.copy()
            watched = self.known.watched[batch.users].tocoo()
            score[watched.row, watched.col] = -np.inf
            score[:, unlisted] = -np.inf
            lists = top(score, 10)
            for gain, held in zip(gains, relevant, strict=True):
                counts = held.counts(batch.users)
                hits = held.among(lists, batch.users)
                gain.append(ndcg(hits[counts > 0], counts[counts > 0]))
        any_, liked_ = (float(np.concatenate(each).mean()) for each in gains)
        return any_, liked_

    def _save_state(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, state in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in state.items()}
        save_tensors(self.run.state_file, tensors, place=json.dumps({"epoch": self.epoch}))

    def resume(self) -> None:
        """Take up the run after its last whole epoch. Raises RunError where it cannot be read."""
        if not self.run.state_file.exists():
            return
        tensors, metadata = load_tensors(self.run.state_file, self.device)
        try:
            adam = self.adam.state_dict()
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                if part == "adam":
                    index, _, field = rest.partition(".")
                    adam["state"].setdefault(int(index), {})[field] = tensor
            model = {n.removeprefix("model."): t for n, t in tensors.items() if n[:6] == "model."}
            self.network.load_state_dict(model)
            self.adam.load_state_dict(adam)
            self.epoch = int(json.loads(metadata["place"])["epoch"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise RunError(f"{self.run.state_file}: does not fit the run: {error}") from None
