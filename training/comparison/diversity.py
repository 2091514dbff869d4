"""What diversity costs and brings: tens by maximal marginal relevance, measured as the others."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bundles.diversity import POOL, Likeness, diversified
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.metrics import TEN
from training.comparison.ranking_metrics import top

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
MOST_USERS = 1_000  # whose tens are made anew for each share; a curve needs no more


def asked_for(evaluator: Evaluator) -> NDArray[np.int64]:
    """int64[n], the users of the curve: all, or as many at equal steps."""
    step = -(-len(evaluator.users) // MOST_USERS)
    return np.asarray(evaluator.users[::step])


def curve(
    evaluator: Evaluator,
    vectors: NDArray[np.float64],
    scored: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
) -> list[Row]:
    """A row for each of `SHARES`, by whose name it goes.

    vectors: float64[A, D]; scored: int64[B] users, and float32[B, A] scores, some at a time.
    """
    likeness = Likeness(evaluator.genres > 0, vectors)
    lists = {share: Lists(evaluator) for share in SHARES}
    for users, scores in scored:
        among = evaluator.among_listed(users, scores)
        pool = top(among, POOL * TEN)
        worth = np.take_along_axis(among, pool, 1)
        some = np.isfinite(worth)  # who has watched nearly all has fewer to choose from
        worth = np.maximum(worth, np.min(worth, 1, keepdims=True, where=some, initial=np.inf))
        units = likeness.units(pool)
        for share, of in lists.items():
            ten = np.take_along_axis(pool, diversified(worth, units, TEN, share), 1)
            above = scores.max(axis=1, keepdims=True) + np.arange(TEN, 0, -1, dtype=np.float32)
            chosen = scores.copy()
            np.put_along_axis(chosen, ten, above, 1)
            of.add(users, chosen)
    return [of.measured(Row(f"{share:g}")) for share, of in lists.items()]
