"""What each part of a `personal` run adds to its lists, on its validation ratings.

    python -m benchmarks.training.ablation run

First the crosses alone, fitted anew with one thing more at a time; then the run's own model with
one part taken out of its mix. NDCG@10 over the whole catalogue, of all that was held out and of
what was rated 8 or more, and its ratio to the crosses of watching alone.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from training.interactions.interactions import Interactions
from training.personal.features.content import Content
from training.personal.mix import Mix
from training.personal.mixing import parts
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.wide.crosses import Crosses
from training.personal.wide.side_information import SideInformation
from training.tables.tables import Ratings, Tables

ALL = 4_096  # weights a row: more than the top of any list can tell apart
Measured = tuple[str, np.ndarray]


class Validation:
    """The run's model and the validation ratings of all its users."""

    def __init__(self, run: PersonalRun) -> None:
        self.run, self.tables = run, run.tables()
        self.model = PersonalModel.load(run, self.tables)
        split = run.parts(self.tables)
        self.known = self._interactions(self.tables, split.known)
        self.train = self._interactions(self.tables, split.train)
        self.held: Ratings = self.tables.ratings.at(split.validation)
        self.users = np.unique(self.held.user_row).astype(np.int64)
        self.listed = split.listed("validation", len(self.tables.anime))

    def _interactions(self, tables: Tables, rows: np.ndarray) -> Interactions:
        return Interactions.of(tables.ratings, rows, self.model.expectation, len(tables.users))

    def crosses(self) -> Iterator[Measured]:
        """The crosses alone, one thing more at a time."""
        settings = self.run.settings
        content = Content.load(self.run.folder).matrix(self.tables.anime)
        none, by_content, by_title = 0.0, settings.content_weight, settings.title_weight
        for name, exponent, weights, kept in (
            ("EASE", 0.0, (none, none), ALL),
            ("users weighted by length", settings.user_exponent, (none, none), ALL),
            ("and content", settings.user_exponent, (by_content, none), ALL),
            ("and title words", settings.user_exponent, (by_content, by_title), ALL),
            (f"{settings.cross_weights} weights a row", settings.user_exponent,
             (by_content, by_title), settings.cross_weights),
        ):  # fmt: skip
            likeness = SideInformation.of(self.tables.anime, content, *weights)
            fitted = Crosses.fit(
                self.train.watched, likeness, settings.ridge, kept, exponent, torch.device("cpu")
            )
            self.model.crosses = fitted.matrix()
            yield name, self._ndcg([Mix()])[0]

    def mixes(self) -> Iterator[Measured]:
        """The run's own mix, and with a part taken out or put in."""
        self.model, mix = PersonalModel.load(self.run, self.tables), self.model.mix
        tried = {
            "the run's mix": mix,
            "without the rating": replace(mix, beta=0.0),
            "without the deep part": replace(mix, deep=0.0, beta=0.0),
            "without what was liked": replace(mix, taste=0.0),
            "genre crosses at weight 0": replace(mix, genres=0.0),
            "genre crosses at weight 1": replace(mix, genres=1.0),
        }
        yield from zip(tried, self._ndcg(list(tried.values())), strict=True)

    def _ndcg(self, mixes: list[Mix]) -> list[np.ndarray]:
        found = parts(self.model, self.known, self.held, self.users, self.listed)
        return [found.ndcg(mix) for mix in mixes]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    validation = Validation(PersonalPreset().open(parser.parse_args().run))
    floor = None
    for table in (validation.crosses(), validation.mixes()):
        for name, (ndcg, liked) in table:
            floor = floor or ndcg
            print(f"{name:<28} {ndcg:.4f}  8+ {liked:.4f}  {ndcg / floor:.3f} x", flush=True)
        print()


if __name__ == "__main__":
    main()
