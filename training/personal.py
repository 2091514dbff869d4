"""What the `personal` preset learnt: crosses, network, and how their answers add up."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from training.content import Content
from training.crosses import Crosses
from training.errors import RunError
from training.expectation import Expectation
from training.histories import Interactions
from training.network import Encoded, History, Network
from training.ranking import top
from training.run import PersonalRun, load_tensors, save_tensors, write_text
from training.tables import Tables

USERS_AT_ONCE = 256
# The rating decides among as many of the highest affinity: what lies behind them never gets there.
RATED = 300


@dataclass(frozen=True)
class Mix:
    """How the parts add up, chosen on validation.

    affinity = Σ_h (1 + taste · liked_h) cross[h, candidate] + deep · (H + 1) · exp(logit), and the
    ranking score = affinity + beta · (rating - mean).
    """

    taste: float = 0.0
    deep: float = 0.0
    beta: float = 0.0
    mean: float = 0.0

    def wide(self, history: History) -> Tensor:
        """The wide part of the affinity, [B, A]."""
        return history.crossed + self.taste * history.crossed_liked

    def affinity(self, history: History, logits: Tensor) -> Tensor:
        """Wide and deep, [B, A]."""
        scale = self.deep * (history.length + 1).unsqueeze(1)
        return self.wide(history) + scale * logits.exp()


class Scores(NamedTuple):
    """A batch of users: `users`: int64[B]; the rest float32[B, A]."""

    users: np.ndarray
    wide: np.ndarray
    affinity: np.ndarray
    score: np.ndarray


class Personal:
    """A model in memory, ready to score."""

    def __init__(
        self,
        network: Network,
        crosses: sp.csr_array,
        expectation: Expectation,
        trained: np.ndarray,
        mix: Mix,
    ) -> None:
        self.network, self.crosses, self.expectation = network, crosses, expectation
        self.mix, self.device = mix, network.content.device
        # Row of each anime in the tables of ids: 0, "unknown", where it was never trained on.
        rows = np.arange(1, len(trained) + 1)
        self.ids = torch.from_numpy(np.where(trained, rows, 0)).to(self.device)

    @classmethod
    def load(cls, run: PersonalRun, tables: Tables) -> "Personal":
        """The trained model. Raises RunError where the run's files do not fit together."""
        wide, _ = load_tensors(run.folder / "crosses.safetensors", torch.device("cpu"))
        try:
            crosses = Crosses(wide["candidate"].numpy(), wide["weight"].numpy())
            expectation = Expectation(float(wide["mean"]), wide["expected"].numpy())
            mix = Mix(**json.loads((run.folder / "mix.json").read_text("utf-8")))
            network = new_network(run, tables, Content.load(run.folder), expectation)
            network.load_state_dict(load_tensors(run.weights_file, torch.device("cpu"))[0])
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"{run.folder}: does not fit together: {first}") from None
        trained = wide["trained"].numpy()
        return cls(network.eval(), crosses.matrix(), expectation, trained, mix)

    @torch.inference_mode()
    def scores(self, interactions: Interactions, users: np.ndarray) -> Iterator[Scores]:
        """Every anime for the users at int64[n], from these interactions, batch by batch.

        Behind the `RATED` highest affinities the score is the affinity alone.
        """
        self.network.eval()
        for start in range(0, len(users), USERS_AT_ONCE):
            batch = users[start : start + USERS_AT_ONCE]
            history, encoded = self._encode(interactions, batch)
            affinity = self.mix.affinity(history, self.network.logits(encoded))
            score = affinity.clone()
            if self.mix.beta:
                best = torch.from_numpy(top(affinity.cpu().numpy(), RATED)).to(self.device)
                row = torch.arange(len(batch), device=self.device).repeat_interleave(best.shape[1])
                rating = self._rate(history, encoded, row, best.flatten()).view_as(best)
                score.scatter_add_(1, best, self.mix.beta * (rating - self.mix.mean))
            wide = self.mix.wide(history)
            yield Scores(batch, *(each.cpu().numpy() for each in (wide, affinity, score)))

    @torch.inference_mode()
    def ratings(
        self, interactions: Interactions, user: np.ndarray, anime: np.ndarray
    ) -> np.ndarray:
        """Predicted ratings of pairs, float64[n], from the users' interactions."""
        self.network.eval()
        predicted = np.empty(len(user))
        everyone = np.unique(user)
        for start in range(0, len(everyone), USERS_AT_ONCE):
            batch = everyone[start : start + USERS_AT_ONCE]
            at = np.flatnonzero((user >= batch[0]) & (user <= batch[-1]))
            history, encoded = self._encode(interactions, batch)
            row = torch.from_numpy(np.searchsorted(batch, user[at])).to(self.device)
            column = torch.from_numpy(anime[at].astype(np.int64)).to(self.device)
            predicted[at] = self._rate(history, encoded, row, column).cpu().numpy()
        return predicted

    def _encode(self, interactions: Interactions, users: np.ndarray) -> tuple[History, Encoded]:
        history = interactions.at(users).history(self.crosses, self.device)
        rows = torch.from_numpy(users + 1).to(self.device)
        return history, self.network.encode(history, rows, self.ids)

    def _rate(self, history: History, encoded: Encoded, row: Tensor, column: Tensor) -> Tensor:
        return self.network.rating(history, encoded, row, column, self.ids[column]).clamp(1, 10)


def new_network(
    run: PersonalRun, tables: Tables, content: Content, expectation: Expectation
) -> Network:
    """The preset's network with fresh weights."""
    preset = run.preset
    expected = torch.from_numpy((expectation.mean + expectation.anime).astype(np.float32))
    features = torch.from_numpy(content.matrix(tables.anime))
    return Network(
        len(tables.users), features, expected, preset.embedding_dim, preset.hidden, preset.dropout
    )


def save_wide(
    run: PersonalRun, crosses: Crosses, expectation: Expectation, trained: np.ndarray
) -> None:
    """Write crosses.safetensors."""
    save_tensors(
        run.folder / "crosses.safetensors",
        {
            "candidate": torch.from_numpy(crosses.candidate),
            "weight": torch.from_numpy(crosses.weight),
            "expected": torch.from_numpy(expectation.anime),
            "mean": torch.tensor(expectation.mean, dtype=torch.float64),
            "trained": torch.from_numpy(trained),
        },
    )


def save_mix(run: PersonalRun, mix: Mix) -> None:
    """Write mix.json."""
    write_text(run.folder / "mix.json", json.dumps(asdict(mix), indent=2))
