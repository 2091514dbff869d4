"""What the crosses of the `personal` preset cost at the size of the whole dataset.

    python -m benchmarks.training.crosses

Synthetic ratings of the dump's size, of which the crosses are fitted twice: of watching alone, and
with content and title words as side information. Seconds, peak memory, and the ratio of the two.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from training.interactions.expectation import Expectation
from training.interactions.interactions import Interactions
from training.personal.features.content import Content
from training.personal.settings import PERSONAL
from training.personal.wide.crosses import Crosses
from training.personal.wide.side_information import SideInformation
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare

USERS, ANIME, RATINGS = 731_290, 24_905, 24_325_191


def fitted_s(interactions: Interactions, side: SideInformation, **changed: float) -> float:
    """Seconds of one fit."""
    began = time.perf_counter()
    Crosses.fit(interactions.watched, side, PERSONAL.model_copy(update=changed))
    return time.perf_counter() - began


def main() -> None:
    """Fit both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--anime", type=int, default=ANIME)
    parser.add_argument("--ratings", type=int, default=RATINGS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesise(Path(folder), options.users, options.anime, options.ratings, seed=0)
        tables = prepare(Path(folder))
    every, anime = np.arange(len(tables.ratings)), len(tables.anime)
    expectation = Expectation.fit(tables.ratings, every, anime)
    interactions = Interactions.of(tables.ratings, every, expectation, len(tables.users))
    rated = np.bincount(tables.ratings.anime_row, minlength=anime) > 0
    content = Content.fit(tables.anime, rated, aggregates=False).matrix(tables.anime)
    side = SideInformation.of(tables.anime, content)
    alone = fitted_s(interactions, side, content_weight=0.0, title_weight=0.0)
    whole = fitted_s(interactions, side)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(every):,} ratings, {rated.sum():,} anime rated\n"
        f"watching alone {alone:.0f} s\n"
        f"with side information {whole:.0f} s, {whole / alone:.2f} times that\n"
        f"peak memory {gigabytes:.1f} GB"
    )


if __name__ == "__main__":
    main()
