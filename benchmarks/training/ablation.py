"""What each part of a `personal` run adds to its lists, on its validation ratings.

    python -m benchmarks.training.ablation run

First the crosses alone, fitted anew with one thing more at a time; then the run's own model, its
wide part alone, and with one part taken out of its mix or put in. NDCG@10 over the whole catalogue,
of all that was held out and of what was rated 8 or more, and its ratio to the crosses of watching
alone. The choices are made on validation, so that the lists know nothing of the test rows, which
count as misses here: these figures are lower than those on test rows.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from training.comparison.evaluator import Evaluator, Row
from training.comparison.held_out import HeldOut
from training.interactions.interactions import Interactions
from training.personal.features.content import Content
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.wide.crosses import Crosses
from training.personal.wide.side_information import SideInformation

ALL = 4_096  # weights a row: more than the top of any list can tell apart
Measured = tuple[str, Row]


class Validation:
    """The run's model and the validation ratings of its users."""

    def __init__(self, run: PersonalRun) -> None:
        self.run, self.tables = run, run.tables()
        self.model = PersonalModel.load(run, self.tables)
        parts, expectation = run.parts(self.tables), self.model.expectation
        held = HeldOut.validation_rows(self.tables, parts)
        self.evaluator = Evaluator(self.tables, parts, held, expectation)
        users = len(self.tables.users)
        self.train = Interactions.of(self.tables.ratings, parts.train, expectation, users)

    def crosses(self) -> Iterator[Measured]:
        """The crosses alone, one thing more at a time."""
        settings = self.run.settings
        content = Content.load(self.run.folder).matrix(self.tables.anime)
        side = SideInformation.of(self.tables.anime, content)
        alone = {"user_exponent": 0.0, "content_weight": 0.0, "title_weight": 0.0}
        alone |= {"cross_weights": ALL}
        for name, added in (
            ("SLIM", ""),
            ("users weighted by length", "user_exponent"),
            ("and content", "content_weight"),
            ("and titles", "title_weight"),
            (f"{settings.cross_weights} weights a row", "cross_weights"),
        ):
            alone.pop(added, None)
            fitted = Crosses.fit(self.train.watched, side, settings.model_copy(update=alone))
            yield self._lists(name, partial(self._crossed, fitted.matrix()))

    def mixes(self) -> Iterator[Measured]:
        """The run's own mix, its wide part alone, and with a part taken out or put in."""
        mix = self.model.mix
        yield self._lists("the run's mix", self._score)
        yield self._lists("its wide part alone", self._wide)
        tried = {
            "without the rating": replace(mix, beta=0.0),
            "without what was liked": replace(mix, taste=0.0),
            "genre crosses at weight 0": replace(mix, genres=0.0),
            "genre crosses at weight 1": replace(mix, genres=1.0),
        }
        for name, self.model.mix in tried.items():
            if self.model.mix != mix:
                yield self._lists(name, self._score)
        self.model.mix = mix

    def _crossed(self, crosses: sp.csr_array, users: np.ndarray) -> np.ndarray:
        return np.asarray((self.evaluator.history.watched[users] @ crosses).toarray())

    def _score(self, users: np.ndarray) -> np.ndarray:
        [scores] = self.model.scores(self.evaluator.history, users)
        return scores.score

    def _wide(self, users: np.ndarray) -> np.ndarray:
        [scores] = self.model.scores(self.evaluator.history, users)
        return scores.wide

    def _lists(self, name: str, scores: Callable[[np.ndarray], np.ndarray]) -> Measured:
        return name, self.evaluator.lists(Row(name), scores)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    validation = Validation(PersonalPreset().open(parser.parse_args().run))
    floor = None
    for table in (validation.crosses(), validation.mixes()):
        for name, row in table:
            ndcg, liked = row.values["ndcg"], row.values["ndcg_liked"]
            floor = floor or ndcg
            print(f"{name:<28} {ndcg:.4f}  8+ {liked:.4f}  {ndcg / floor:.3f} x", flush=True)
        print()


if __name__ == "__main__":
    main()
