"""How the parts of the `personal` preset add up: chosen on validation, part after part."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.comparison.ranking_metrics import LIKED, Relevant, ndcg, top
from training.interactions.interactions import USERS_AT_ONCE, Interactions
from training.personal.mix import Mix
from training.personal.model import PersonalModel
from training.tables.tables import Ratings

CHOICES = {
    "deep": (0.0, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3),
    "genres": (0.0, 0.5, 1.0, 1.5),
    "taste": (0.0, 0.02, 0.05, 0.1, 0.15, 0.2),
    "beta": (0.0, 0.002, 0.005, 0.01, 0.02, 0.03),
}
ROUNDS = 2
# Nothing outside the best of either part gets into a top ten under any mix.
BEST_OF_A_PART = 150


class Parts(NamedTuple):
    """The parts of the score of each user's best anime: float32[U, C]; `unmixed`: what no mix
    weighs, -inf for what is not listed; `relevant`, `liked`: bool[U, C] and how many there are of
    each user, int64[U]."""

    unmixed: np.ndarray
    taste: np.ndarray
    genres: np.ndarray
    deep: np.ndarray
    rating: np.ndarray
    relevant: tuple[np.ndarray, np.ndarray]
    liked: tuple[np.ndarray, np.ndarray]

    def ndcg(self, mix: Mix) -> np.ndarray:
        """NDCG@10 of all that was held out, and of what was liked: float64[2]."""
        score = self.unmixed + mix.taste * self.taste + mix.genres * self.genres
        score = score + mix.deep * self.deep + mix.beta * (self.rating - mix.mean)
        lists = top(score, 10)
        means = []
        for relevant, counts in (self.relevant, self.liked):
            some = counts > 0
            hits = np.take_along_axis(relevant, lists, 1)
            means.append(ndcg(hits[some], counts[some]).mean() if some.any() else 0.0)
        return np.array(means)


def choose(parts: Parts, mean: float) -> Mix:
    """The mix whose gain over the crosses alone is largest; the smaller of both measures counts."""
    mix, reached = Mix(mean=mean), 1.0
    floor = np.maximum(parts.ndcg(mix), 1e-9)
    for part, values in list(CHOICES.items()) * ROUNDS:
        for value in values:
            tried = replace(mix, **{part: value})
            gain = float(np.min(parts.ndcg(tried) / floor))
            if gain > reached:
                mix, reached = tried, gain
    return mix


@torch.inference_mode()
def parts(
    model: PersonalModel,
    known: Interactions,
    held: Ratings,
    users: np.ndarray,
    listed: np.ndarray,
) -> Parts:
    """What the model says of `users`, int64[n], about the anime `listed`, bool[A], that they are
    not known to have watched, beside the ratings held out of them."""
    shape, liked = known.watched.shape, held.rating >= LIKED
    wanted = (
        Relevant.of(held.user_row, held.anime_row, shape),
        Relevant.of(held.user_row[liked], held.anime_row[liked], shape),
    )
    found: list[list[np.ndarray]] = [[] for _ in range(7)]
    for start in range(0, len(users), USERS_AT_ONCE):
        batch = users[start : start + USERS_AT_ONCE]
        history, encoded = model.encode(known, batch)
        likely = model.network.logits(encoded).exp()
        deep = ((history.length + 1).unsqueeze(1) * likely).cpu()
        unmixed = (history.crossed + model.alone(history, likely)).cpu()
        closed = torch.from_numpy(np.repeat(~listed[None], len(batch), axis=0))
        watched = known.watched[batch].tocoo()
        closed[watched.row, watched.col] = True
        best = _best(unmixed.masked_fill_(closed, -torch.inf), deep.masked_fill_(closed, -1))
        doubled = np.pad(best[:, 1:] == best[:, :-1], ((0, 0), (1, 0)))
        rating, once = np.zeros(best.shape, np.float32), np.nonzero(~doubled)
        pairs = (torch.from_numpy(at).to(model.device) for at in (once[0], best[once]))
        rating[once] = model.rate(history, encoded, *pairs).cpu().numpy()
        columns = (
            unmixed,
            history.crossed_liked.cpu(),
            model.genres.scores(history).cpu(),
            deep,
        )
        taken = [np.take_along_axis(column.numpy(), best, 1) for column in columns]
        taken[0][doubled] = -np.inf
        for kept, column in zip(found, [*taken, rating], strict=False):
            kept.append(column)
        for kept, held_out in zip(found[5:], wanted, strict=True):
            kept.append(held_out.among(best, batch))
    unmixed_, taste, genres, deep_, rated, relevant, liked_ = map(np.concatenate, found)
    counts, liked_counts = (each.counts(users) for each in wanted)
    return Parts(unmixed_, taste, genres, deep_, rated, (relevant, counts), (liked_, liked_counts))


def _best(*scores: Tensor) -> np.ndarray:
    """Rows of the catalogue with the best by each score, [B, A], ascending; some stand twice."""
    most = min(BEST_OF_A_PART, scores[0].shape[1])
    return np.sort(torch.hstack([score.topk(most).indices for score in scores]).numpy(), axis=1)
