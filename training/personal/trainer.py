"""The training of the `personal` preset: the wide part first, then the network beside it.

A step takes some users, hides a share of what each has watched, and asks for the hidden part from
the rest: a target never stands in the history it is predicted from, nor in what its anime lets
expect. The crosses that it is trained beside were fitted on all users: leaving out those of a batch
was no better on validation.
"""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anirank.errors import RunError
from training.interactions.expectation import ANIME_DAMPING
from training.interactions.hidden import Hidden
from training.interactions.interactions import Interactions, Ties
from training.loop.dropout import Rows
from training.loop.interruption import interruptible
from training.loop.progress import SILENT, Progress, Stages
from training.loop.ranks import ALONE, Ranks
from training.loop.schedule import learning_rates
from training.loop.turns import turns
from training.personal.features.content import Content
from training.personal.features.profiles import Profiles
from training.personal.mix import Mix
from training.personal.mixing import choose, parts
from training.personal.model import PersonalModel, catalogue, new_network
from training.personal.network import Anime
from training.personal.run import PersonalRun
from training.personal.settings import beyond
from training.personal.wide.fit import Fit, fit
from training.run import load_tensors, save_tensors
from training.tables.tables import Ratings, Tables

VALIDATED_USERS = 2_000
CLIP = 5.0  # norm of a gradient


class PersonalTrainer:
    """A `personal` model on its way through the epochs of a run."""

    def __init__(
        self,
        run: PersonalRun,
        tables: Tables,
        device: torch.device,
        stages: Stages = SILENT,
        ranks: Ranks = ALONE,
    ) -> None:
        if tables.fingerprint != run.fingerprint:
            raise RunError(f"{run.folder}: was begun on other data (the fingerprints differ)")
        self.run, self.settings, self.device, self.ranks = run, run.settings, device, ranks
        self.ratings = tables.ratings
        self.parts = run.parts(tables)
        users, anime = self.ratings.user_row, self.ratings.anime_row
        watched = np.bincount(anime[self.parts.train], minlength=len(tables.anime)) > 0
        there = np.bincount(users[self.parts.train], minlength=len(tables.users)) > 0
        is_update = run.updated_from() is not None
        if is_update:  # its weights are of these columns
            content, profiles = Content.load(run.folder), Profiles.load(run.folder)
        else:
            content = Content.fit(tables.anime, watched, self.settings.dump_aggregates)
            profiles = Profiles.fit(tables.users, there, self.settings.dump_aggregates)
            if ranks.first:
                content.save(run.folder)
                profiles.save(run.folder)
        features, genres = content.matrix(tables.anime), content.values["genres"]
        of = (tables, self.parts.train, genres, features, self.settings)
        self.wide = fit(*of, run.crosses_file, stages, ranks)
        fitted = self.wide.fitted
        stages.begin("preparing the network")
        torch.manual_seed(self.settings.seed)
        self.network = new_network(self.settings, tables, content, profiles).to(device)
        whole = catalogue(fitted, features, device)
        stated = torch.from_numpy(profiles.matrix(profiles.stated(tables.users))).float()
        mix = Mix(mean=fitted.expectation.mean)
        self.model = PersonalModel(self.network, fitted, whole, stated, mix)
        self.trained = _Trained.of(self.wide, features, device)
        if is_update:
            self._start_from(run.start_file)
        else:
            self._start_from_popularity()
        self.parallel = ranks.parallel(self.network)
        # A step learns nothing of users who have not rated.
        self.raters = np.flatnonzero(fitted.trained_users)
        size, most = self.settings.optimisation.batch_size, self.settings.epoch_steps
        self.steps = min(math.ceil(len(self.raters) / size), most)
        self.users_an_epoch = min(len(self.raters), most * size)
        self.rates = learning_rates(self.settings.optimisation, self.steps)
        self.adam = torch.optim.Adam(self._groups(), fused=True)
        self.epoch = 0

    def _start_from(self, file: Path) -> None:
        try:
            self.network.load_state_dict(load_tensors(file, self.device)[0])
        except RuntimeError:
            raise RunError(f"{file}: is of a network of another version; train anew") from None

    @torch.no_grad()
    def _start_from_popularity(self) -> None:
        columns = self.trained.interactions.watched.indices
        counts = np.bincount(columns, minlength=len(self.trained.anime.ids)) + 1.0
        share = torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32)).to(self.device)
        appeal = self.network.appeal_id.weight
        appeal[:] = share.min()
        appeal[self.trained.anime.ids, 0] = share

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters for Adam: only the tables of ids are drawn towards zero."""
        ids: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            is_table = "_id." in name and not name.startswith("appeal")
            (ids if is_table else others).append(parameter)
        decay = self.settings.weight_decay / beyond(len(self.raters))
        return [{"params": ids, "weight_decay": decay}, {"params": others}]

    def fit(self, progress: Progress) -> bool:
        """Train to the last epoch; False where a signal ended it before.

        An epoch that was stopped is trained again, whole, by `resume`.
        """
        if self.ranks.first:
            self._leave_what_can_be_used()
        with interruptible() as interrupted:
            while self.epoch < self.settings.optimisation.epochs:
                seed = self.settings.seed * 1_000_003 + self.epoch
                rng = np.random.default_rng(seed)
                torch.manual_seed(seed)
                batches = self._batches()
                progress.start_epoch(self.epoch + 1, self.users_an_epoch, 0)
                squares = asked = 0.0
                for step, users in enumerate(batches):
                    loss, count = self._step(users, self.epoch * self.steps + step, rng)
                    squares, asked = squares + loss * count, asked + count
                    progress.advance(len(users), loss)
                    if self.ranks.total(interrupted.is_set()):
                        return False
                self._close_epoch(progress, squares / max(asked, 1))
        if self.ranks.first and len(self.parts.validation):
            progress.begin("choosing how the parts add up")
            self._choose_mix()
        return True

    def _leave_what_can_be_used(self) -> None:
        """What a run needs even where no epoch of it ends."""
        if not self.run.mix_file.exists():  # a refit and an update bring the one chosen before
            self.model.mix.save(self.run.mix_file)
        if not self.run.weights_file.exists():
            self.run.save_weights(self.network)

    def _batches(self) -> list[np.ndarray]:
        size, count = self.settings.optimisation.batch_size, self.users_an_epoch
        users = turns(self.raters, self.epoch * count, count, self.settings.seed)
        return [users[at : at + size] for at in range(0, len(users), size)]

    def _step(self, users: np.ndarray, step: int, rng: np.random.Generator) -> tuple[float, int]:
        hidden = Hidden.drawn(self.trained.interactions.lengths(users), rng)
        asked = int(hidden.targets.sum())
        if not asked:
            return 0.0, 0
        # All ranks draw the same for the whole batch, and go on with their own users.
        here = self.ranks.share(len(users))
        whole, kept = self.trained.interactions.at(users[here]), hidden.shown_of(here)
        rest, user, anime = whole.parted(kept)
        history = rest.history(self.trained.ties, self.device)
        chance = self.settings.id_dropout
        stated = torch.rand(len(users), 1, device=self.device) >= chance
        profiles = self.model.profiles[users[here]].to(self.device) * stated[here]
        every = self.trained.anime
        shown = torch.rand(len(every.ids), device=self.device) >= chance / 3
        batch = every._replace(ids=torch.where(shown, every.ids, 0))
        row, column = (torch.from_numpy(each).to(self.device) for each in (user, anime))
        residual = torch.from_numpy(whole.residual.data[~kept]).to(self.device)
        self.network.train()
        if self.ranks.count > 1:
            self.network.share(Rows(here, len(users)), Rows(hidden.pairs_of(here), asked))
        # Of the ratings of others: a rating that has a part in the mean would foretell itself.
        expected = every.expected[column] - residual / self.trained.others[column]
        logits, rated = self.parallel(history, profiles, batch, row, column, expected)
        targets = torch.from_numpy(hidden.targets).to(logits)
        watching = self._watching(logits, rest, row, column, targets[here]) / targets.sqrt().sum()
        squares = F.mse_loss(rated, residual + every.expected[column], reduction="sum") / asked
        self.adam.zero_grad()
        # Losses are parts of the whole batch's: gradients are to be summed, and are averaged.
        torch.autograd.backward((watching + squares) * self.ranks.count)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        for group in self.adam.param_groups:
            group["lr"] = self.rates[step]
        self.adam.step()
        return self.ranks.total(float(squares.detach())), asked

    def _watching(
        self, logits: Tensor, rest: Interactions, row: Tensor, column: Tensor, targets: Tensor
    ) -> Tensor:
        """Poisson form of the softmax loss over what each user has not shown to have watched:
        mean of -logit over the targets, plus the sum of exp(logit), which it draws to 1. It is
        still to be divided by the weight of all users. `targets`: float32[B], of each."""
        open_ = torch.ones_like(logits)
        watched = rest.watched.tocoo()
        open_[watched.row, watched.col] = 0
        totals = (logits.exp() * open_).sum(1)
        # A user of many targets says more, though not as much more as they are.
        weight = targets.sqrt()
        drawn = (logits[row, column] / weight[row]).sum()
        return (weight * totals).sum() - drawn

    def _close_epoch(self, progress: Progress, train: float) -> None:
        self.epoch += 1
        validation = self._validation_loss() if len(self.parts.validation) else None
        if not self.ranks.first:
            return
        rate = float(self.rates[self.epoch * self.steps - 1])
        line = self.run.record(self.epoch, train, validation, rate, *progress.finish_epoch())
        # The rate falls to zero: the last weights rank best even where the rating's error has
        # begun to rise by a hair.
        self.run.save_weights(self.network)
        self._save_state()
        progress.report(line)

    @cached_property
    def _validated(self) -> "_Validated":
        rows, known = self.parts.validation, self.parts.known
        users = np.unique(self.ratings.user_row[rows]).astype(np.int64)
        rng = np.random.default_rng(self.settings.seed)
        users = np.sort(rng.permutation(users)[:VALIDATED_USERS])
        chosen = np.zeros(len(self.model.users), dtype=np.bool_)
        chosen[users] = True
        held = self.ratings.at(rows[chosen[self.ratings.user_row[rows]]])
        known = known[chosen[self.ratings.user_row[known]]]
        expectation = self.wide.fitted.expectation
        return _Validated(
            users, held, Interactions.of(self.ratings, known, expectation, len(chosen))
        )

    def _validation_loss(self) -> float:
        users, held, known = self._validated
        mine = held.at(np.flatnonzero(np.isin(held.user_row, users[self.ranks.share(len(users))])))
        predicted = self.model.ratings(known, mine.user_row.astype(np.int64), mine.anime_row)
        return self.ranks.total(float(np.sum((predicted - mine.rating) ** 2))) / len(held)

    def _choose_mix(self) -> None:
        users, held, known = self._validated
        listed = self.parts.listed("validation", len(self.model.anime.ids))
        self.model.network.eval()
        self.model.mix = choose(parts(self.model, known, held, users, listed), self.model.mix.mean)
        self.model.mix.save(self.run.mix_file)

    def _save_state(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, state in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in state.items()}
        save_tensors(self.run.state_file, tensors, place=json.dumps({"epoch": self.epoch}))

    def resume(self) -> None:
        """Take up the run after its last whole epoch. Raises RunError where it cannot be read."""
        file = self.run.state_file
        loaded = self.ranks.from_first(
            lambda: load_tensors(file, torch.device("cpu")) if file.exists() else None
        )
        if loaded is None:
            return
        tensors, metadata = loaded
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
            raise RunError(f"{file}: does not fit the run: {error}") from None


class _Validated(NamedTuple):
    """A sample of users, int64[n], ascending; their validation ratings; what is known of them."""

    users: np.ndarray
    held: Ratings
    known: Interactions


class _Trained(NamedTuple):
    """What a step sees: only the anime that were trained on, int64[M] of the catalogue.

    `others`: float32[M], ratings that what to expect of each is made of when one of them is left
    out, the damping included.
    """

    anime: Anime
    others: Tensor
    interactions: Interactions
    ties: Ties

    @classmethod
    def of(cls, wide: Fit, content: np.ndarray, device: torch.device) -> "_Trained":
        columns = np.flatnonzero(wide.fitted.trained_anime)
        interactions = Interactions(*(each[:, columns] for each in wide.interactions))
        counts = np.bincount(interactions.watched.indices, minlength=len(columns))
        return cls(
            catalogue(wide.fitted, content, device, columns),
            torch.from_numpy(counts + (ANIME_DAMPING - 1)).float().to(device),
            interactions,
            wide.fitted.ties().among(columns),
        )
