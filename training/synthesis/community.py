"""An invented community: what it likes, who watches what, and how it rates that.

Genres, anime and users share a space of ``FACTORS`` dimensions. An anime lies near its genres; a
taste lies near two or three genres; a user holds up to ``TASTES_EACH`` tastes and watches
according to them and to how popular an anime is. A rating is the user's mildness, the anime's
quality and the fit of the two, plus noise, cut so that the ten values are as frequent as in the
dump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

FACTORS = 8
TASTES = 32
TASTES_EACH = 3
# How often the dump holds the ratings 1 to 10.
HISTOGRAM = [98069, 132092, 233675, 562822, 1379480, 2766482, 5452152, 6060484, 4429914, 3210021]

_TASTE_SHARPNESS = 6.0  # how far a taste outweighs popularity
_ZIPF_EXPONENT = 1.05
_FAME = 2.0  # what the famous have before others, whose fame has a standard deviation of 1.4
# Standard deviations of the parts of a rating, before it is cut into ten.
_MILDNESS, _QUALITY, _FIT, _NOISE = 0.5, 0.45, 0.6, 0.45
_FIT_SPREAD = 0.3  # standard deviation of taste times factors over what is watched
_ROUNDS = 40  # of drawing again what was drawn twice, before any unseen anime will do


@dataclass(frozen=True)
class Community:
    """A anime and the tastes for them.

    ``factors``: float32[A, FACTORS]; ``quality``: float32[A]; ``popularity``: float64[A], sums
    to 1, zero for anime that no one can have seen; ``tastes``: float32[TASTES, FACTORS];
    ``watched``: float64[TASTES * A], for taste t the running sum from t to t + 1 of the
    probability of each anime.
    """

    factors: Floats
    quality: Floats
    popularity: npt.NDArray[np.float64]
    tastes: Floats
    watched: npt.NDArray[np.float64]

    @classmethod
    def invent(
        cls,
        genres: npt.NDArray[np.bool_],
        unseen: npt.NDArray[np.bool_],
        famous: npt.NDArray[np.bool_],
        obscure: float,
        rng: np.random.Generator,
    ) -> Community:
        """A community for anime of ``genres``: bool[A, G].

        None watches ``unseen``: bool[A], nor the ``obscure``, the share of least fame; many watch
        ``famous``: bool[A].
        """
        of_genre = rng.standard_normal((genres.shape[1], FACTORS), dtype=np.float32)
        own = rng.standard_normal((len(genres), FACTORS), dtype=np.float32)
        factors = _unit(_unit(genres.astype(np.float32) @ of_genre) + 0.6 * _unit(own))
        liked = np.stack(
            [of_genre[rng.choice(len(of_genre), 3, replace=False)] for _ in range(TASTES)]
        )
        shares = rng.dirichlet(np.ones(3), TASTES).astype(np.float32)
        tastes = _unit(np.einsum("tgf,tg->tf", liked, shares))
        quality = rng.standard_normal(len(genres), dtype=np.float32)
        popularity = _popularity(quality, unseen, famous, obscure, rng)
        weights = np.exp(_TASTE_SHARPNESS * (tastes @ factors.T).astype(np.float64)) * popularity
        running = np.cumsum(weights, axis=1)
        running /= running[:, -1:]
        watched = (running + np.arange(float(TASTES))[:, None]).ravel()
        return cls(factors, quality, popularity, tastes, watched)

    def lists(self, lengths: npt.NDArray[np.int64], rng: np.random.Generator) -> Lists:
        """Invent as many users as there are ``lengths``, each with a list of that many anime."""
        users = len(lengths)
        chosen = rng.integers(0, TASTES, (users, TASTES_EACH))
        shares = rng.dirichlet(np.full(TASTES_EACH, 0.7), users)
        seen = self._watch(lengths, chosen, np.cumsum(shares, axis=1), rng)
        user_row, anime_row = np.divmod(np.flatnonzero(seen), len(self.quality))
        vectors = np.einsum("utf,ut->uf", self.tastes[chosen], shares.astype(np.float32))
        vectors += np.float32(0.15) * rng.standard_normal(vectors.shape, dtype=np.float32)
        fit = np.einsum("rf,rf->r", vectors[user_row], self.factors[anime_row])
        mildness = rng.standard_normal(users, dtype=np.float32)
        liking = (
            np.float32(_MILDNESS) * mildness[user_row]
            + np.float32(_QUALITY) * self.quality[anime_row]
            + np.float32(_FIT / _FIT_SPREAD) * fit
            + np.float32(_NOISE) * rng.standard_normal(len(fit), dtype=np.float32)
        )
        return Lists(user_row.astype(np.int32), anime_row.astype(np.int32), liking)

    def _watch(
        self,
        lengths: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.int64],
        shares: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> npt.NDArray[np.bool_]:
        """bool[users * A]: draws until every list is full, what is drawn twice counting once."""
        anime = len(self.quality)
        seen = np.zeros((len(lengths), anime), dtype=np.bool_)
        wanting = lengths.copy()
        for _ in range(_ROUNDS):
            users = np.repeat(np.arange(len(lengths)), wanting)
            if not len(users):
                return seen.ravel()
            taste = (rng.random(len(users))[:, None] > shares[users, :-1]).sum(1)
            target = chosen[users, taste] + rng.random(len(users))
            drawn = np.searchsorted(self.watched, target, side="right") % anime
            place = users * anime + drawn
            place = np.unique(place[~seen.ravel()[place]])
            seen.ravel()[place] = True
            wanting -= np.bincount(place // anime, minlength=len(lengths))
        for user in np.flatnonzero(wanting):
            left = np.flatnonzero(~seen[user] & (self.popularity > 0))
            seen[user, rng.choice(left, wanting[user], replace=False)] = True
        return seen.ravel()


@dataclass(frozen=True)
class Lists:
    """The lists of some users, by user and then by anime.

    ``user_row``: int32[R], from 0; ``anime_row``: int32[R]; ``liking``: float32[R], the more the
    better, not yet a rating.
    """

    user_row: Rows
    anime_row: Rows
    liking: Floats


def cuts(liking: Floats) -> Floats:
    """float32[9]: where to cut ``liking`` so that the ratings are as frequent as in the dump."""
    below = np.cumsum(HISTOGRAM)[:-1] / sum(HISTOGRAM)
    return np.asarray(np.quantile(liking, below), dtype=np.float32)


def lengths(users: int, total: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """int64[users]: lengths of lists from 1 to ``most``, few of them long, that sum to ``total``.

    Needs ``users`` <= ``total`` <= ``users * most``.
    """
    wish = rng.lognormal(0, 1.2, users)
    low, high = 0.0, total * 1e6
    for _ in range(100):
        scale = (low + high) / 2
        made = np.clip(np.rint(wish * scale), 1, most)
        low, high = (scale, high) if made.sum() <= total else (low, scale)
    result = np.clip(np.rint(wish * low), 1, most).astype(np.int64)
    while short := total - int(result.sum()):
        room = rng.permutation(np.flatnonzero(result < most))
        result[room[:short]] += 1
    return result


def _popularity(
    quality: Floats,
    unseen: npt.NDArray[np.bool_],
    famous: npt.NDArray[np.bool_],
    obscure: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    fame = quality + rng.standard_normal(len(quality)) + _FAME * famous
    order = np.empty(len(quality))
    order[np.argsort(-fame)] = np.arange(len(quality))
    watched = ~unseen & (famous | (order < len(order) * (1 - obscure)))
    weights = np.where(watched, (order + 10) ** -_ZIPF_EXPONENT, 0.0)
    return np.asarray(weights / weights.sum())


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
