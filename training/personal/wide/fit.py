"""The half of the `personal` preset that takes no epochs: expectations, crosses, what is alike."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.interactions.expectation import Expectation
from training.interactions.interactions import USERS_AT_ONCE, History, Interactions, Ties
from training.loop.progress import SILENT, Stages
from training.loop.ranks import ALONE, Ranks
from training.personal.settings import PersonalSettings
from training.personal.wide.alike import Alike
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
    genres: list[str],
    features: np.ndarray,
    settings: PersonalSettings,
    file: Path,
    stages: Stages = SILENT,
    ranks: Ranks = ALONE,
) -> Fit:
    """Fit on the ratings at `rows`, int64[n], and keep in `file` what was fitted.

    `genres`: those that have crosses; `features`: float32[A, F], the content of each anime.
    What is kept there of the same data and settings is not fitted again. Raises RunError where the
    file cannot be read.
    """
    stages.begin("gathering what was watched")
    anime, users = len(tables.anime), len(tables.users)
    expectation = Expectation.fit(tables.ratings, rows, anime)
    interactions = Interactions.of(tables.ratings, rows, expectation, users)
    made_of = _made_of(tables, settings)
    fitted = ranks.from_first(lambda: Fitted.kept(file, made_of))
    if fitted is None:
        side = SideInformation.of(tables.anime, features)
        watched = np.bincount(tables.ratings.anime_row[rows], minlength=anime)
        crosses = Crosses.fit(interactions.watched, side, settings, stages, ranks)
        alike = Alike.of(side, watched > 0, settings.alike)
        ties = Ties(crosses.matrix(), alike.matrix())
        tastes = GenreCrosses.untrained(tables.anime, genres, tables.ratings.anime_row[rows]).fit(
            _left_over(interactions, ties, settings.seed, stages, ranks), ranks
        )
        rated = np.diff(interactions.watched.indptr) > 0
        share = watched / len(rows)
        fitted = Fitted(share, crosses, alike, tastes, expectation, watched > 0, rated)
        if ranks.first:
            fitted.save(file, made_of)
    return Fit(fitted, interactions)


def _made_of(tables: Tables, settings: PersonalSettings) -> str:
    """The data and the settings that decide what is fitted, and some that do not, as JSON."""
    declared = settings.model_dump(mode="json", exclude={"optimisation"})
    return json.dumps({"fingerprint": tables.fingerprint, **declared}, sort_keys=True)


def _left_over(
    interactions: Interactions,
    ties: Ties,
    seed: int,
    stages: Stages,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[History, Tensor]]:
    """Histories of a sample of users with a part hidden, and what the crosses leave over of it,
    float32[B, A]; of every so many batches one a rank."""
    rng = np.random.default_rng(seed)
    rated = np.flatnonzero(np.diff(interactions.watched.indptr))
    users = np.sort(rng.permutation(rated)[:GENRE_USERS])
    stages.begin("fitting the genres", len(users))
    for number, start in enumerate(range(0, len(users), USERS_AT_ONCE)):
        batch = users[start : start + USERS_AT_ONCE]
        whole = interactions.at(batch)
        kept = rng.random(whole.watched.nnz) >= HIDDEN
        stages.step(len(batch))
        if number % ranks.count != ranks.rank:
            continue
        rest, user, anime = whole.parted(kept)
        history = rest.history(ties, torch.device("cpu"))
        left_over = -history.crossed
        left_over[user, anime] += 1
        shown = rest.watched.tocoo()
        left_over[shown.row, shown.col] = 0
        yield history, left_over
