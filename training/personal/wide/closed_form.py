"""The closed-form half of the `personal` preset: expectations, crosses of anime and of genres."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from training.interactions.expectation import Expectation
from training.interactions.interactions import USERS_AT_ONCE, History, Interactions
from training.loop.progress import SILENT, Stages
from training.personal.features.content import Content
from training.personal.settings import PersonalSettings
from training.personal.wide.crosses import Crosses
from training.personal.wide.fitted import Fitted
from training.personal.wide.genre_crosses import GenreCrosses
from training.personal.wide.side_information import SideInformation
from training.tables.tables import Tables

HIDDEN = 0.2  # share of a history that the genres are fitted to
# The genres are fitted to as many users at most: 42 weights need no more.
GENRE_USERS = 10_000


@dataclass(frozen=True)
class Fit:
    """`fitted`: what is kept; `interactions`: the training ratings."""

    fitted: Fitted
    interactions: Interactions


def fit(
    tables: Tables,
    rows: np.ndarray,
    content: Content,
    settings: PersonalSettings,
    device: torch.device,
    stages: Stages = SILENT,
) -> Fit:
    """Fit on the ratings at `rows`, int64[n]."""
    stages.begin("fitting the crosses")
    ratings, anime, users = tables.ratings, len(tables.anime), len(tables.users)
    expectation = Expectation.fit(ratings, rows, anime)
    interactions = Interactions.of(ratings, rows, expectation, users)
    features = content.matrix(tables.anime)
    likeness = SideInformation.of(
        tables.anime, features, settings.content_weight, settings.title_weight
    )
    crosses = Crosses.fit(
        interactions.watched,
        likeness,
        settings.ridge,
        settings.cross_weights,
        settings.user_exponent,
        device,
    )
    watched = np.bincount(ratings.anime_row[rows], minlength=anime)
    rated = np.bincount(ratings.user_row[rows], minlength=users) > 0
    rng = np.random.default_rng(settings.seed)
    asked = np.sort(rng.permutation(np.flatnonzero(rated))[:GENRE_USERS])
    stages.begin("fitting the genres", len(asked))
    genres = GenreCrosses.untrained(
        tables.anime, content.values["genres"], ratings.anime_row[rows]
    ).fit(_left_over(interactions, asked, crosses.matrix(), rng, stages))
    fitted = Fitted(watched / len(rows), crosses, genres, expectation, watched > 0, rated)
    return Fit(fitted, interactions)


def _left_over(
    interactions: Interactions,
    users: np.ndarray,
    crosses: sp.csr_array,
    rng: np.random.Generator,
    stages: Stages,
) -> Iterator[tuple[History, Tensor]]:
    """Histories with a part hidden, and what the crosses leave over of it, float32[B, A]."""
    for start in range(0, len(users), USERS_AT_ONCE):
        batch = users[start : start + USERS_AT_ONCE]
        whole = interactions.at(batch)
        kept = rng.random(whole.watched.nnz) >= HIDDEN
        rest, user, anime = whole.parted(kept)
        history = rest.history(crosses, torch.device("cpu"))
        left_over = -history.crossed
        left_over[user, anime] += 1
        shown = rest.watched.tocoo()
        left_over[shown.row, shown.col] = 0
        yield history, left_over
        stages.step(len(batch))
