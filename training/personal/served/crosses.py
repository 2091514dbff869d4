"""The wide part beside the graph: the same tables for who wants to take a wide score apart."""

import numpy as np

from bundles.crosses import Crosses
from bundles.wide import Genre, Wide
from training.interactions.expectation import USER_DAMPING
from training.personal.model import PersonalModel
from training.personal.served.ranker import PersonalRanker
from training.personal.wide.genre_crosses import DAMPING


def served_crosses(model: PersonalModel, ranker: PersonalRanker) -> Crosses:
    """The graph's own tables, without their row for unknown anime."""
    # Unused places point at that row, with weight 0.
    candidate = np.maximum(ranker.crossed[1:].numpy() - 1, 0)
    return Crosses(
        candidate=candidate.astype(np.int32),
        weight=ranker.cross_weights[1:].numpy(),
        expected=ranker.expected[1:].numpy(),
        genre=ranker.genre[1:].numpy().astype(np.bool_),
        wide=Wide(model.mix.taste, USER_DAMPING, DAMPING, _genres(model, ranker)),
    )


def _genres(model: PersonalModel, ranker: PersonalRanker) -> tuple[Genre, ...]:
    columns = (ranker.genre_liking, ranker.genre_watching, ranker.genre_usual)
    # None of them where genres weigh nothing.
    numbers = zip(model.genres.names, *(column.tolist() for column in columns), strict=False)
    return tuple(Genre(*each) for each in numbers)
