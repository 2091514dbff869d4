"""How well `Similar` finds what else a user watches, beside popularity and item-kNN.

    python -m benchmarks.training.similar run model_store/anime/1 --on test

Of each user of the run one anime of the history is drawn; what is like it is to have the anime that
were held out of that user. A list is of the whole catalogue less all else that is known of the
user. The bundle has to be that of the run. NDCG@10 and recall over all that was held out, then
NDCG@10 by the popularity of what was held out, a third of the training ratings each.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from anirank.errors import RunError
from bundles.bundle import Bundle
from handlers.similar.likeness import WEIGHT_OF_VECTORS, Likenesses
from training.comparison.baselines import BM25_B, BM25_K1, Popularity, Training, rated
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.interactions.interactions import Interactions
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun

NEIGHBOURS = 101  # of which one is the anime itself: twice what the longest list has
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5)  # of the vectors beside the crosses, tried on validation
Score = Callable[[np.ndarray], np.ndarray]


class Neighbours:
    """One anime of each user's history, and what was held out of the user."""

    def __init__(self, run: PersonalRun, bundle: Bundle, on: str, seed: int = 0) -> None:
        """on: validation or test. Raises RunError where the bundle is of other data."""
        tables = run.tables()
        ids = tables.anime["anime_id"].to_numpy()
        if bundle.manifest.data_fingerprint != run.fingerprint or not np.array_equal(
            ids, bundle.catalogue.anime_id
        ):
            raise RunError(f"{bundle.folder}: is not of the data that {run.folder} was trained on")
        parts = run.parts(tables)
        self.model = PersonalModel.load(run, tables)
        held = (HeldOut.test_rows if on == "test" else HeldOut.validation_rows)(tables, parts)
        self.evaluator = Evaluator(tables, parts, held, self.model.expectation)
        lengths = np.diff(self.evaluator.history.watched.indptr)
        self.evaluator.users = self.evaluator.users[lengths[self.evaluator.users] > 0]
        self.training = Training(tables, parts, self.model.expectation, held.listed, seed)
        self._likenesses = Likenesses(bundle)
        self._drawn = _drawn(self.evaluator, np.random.default_rng(seed))

    def rows(self) -> Iterator[Row]:
        """What each way is worth."""
        popularity = Popularity(self.training)
        yield self._row("popularity", lambda users: popularity.scores(self._alone, users))
        for name, similarity in self._knn():
            yield self._row(name, self._of(similarity))
        yield from self.alike(
            {"crosses": (1, 0), "vectors": (0, 1), "both": (1, WEIGHT_OF_VECTORS)}
        )
        yield self._row("Recommend, with it as history", self._recommended)

    def weights(self) -> Iterator[Row]:
        """Both, at other weights of the vectors."""
        yield from self.alike({f"vectors at {weight:g}": (1, weight) for weight in WEIGHTS})

    def alike(self, weights: Mapping[str, tuple[float, float]]) -> Iterator[Row]:
        """By what crosses and vectors weigh, in one pass over the users."""
        lists = {name: Lists(self.evaluator) for name in weights}
        for users in self.evaluator.batches():
            crosses, vectors = self._crosses(users), self._vectors(users)
            for name, (of_crosses, of_vectors) in weights.items():
                score = np.float32(of_crosses) * crosses + np.float32(of_vectors) * vectors
                lists[name].add(users, score)
        for name, each in lists.items():
            yield each.measured(Row(name))

    def _row(self, name: str, scores: Score) -> Row:
        return self.evaluator.lists(Row(name), scores)

    def _crosses(self, users: np.ndarray) -> np.ndarray:
        return self._each(users, self._likenesses.crosses)

    def _vectors(self, users: np.ndarray) -> np.ndarray:
        return self._each(users, self._likenesses.vectors)

    def _each(self, users: np.ndarray, of: Score) -> np.ndarray:
        return np.array([of(self._drawn[[user]]) for user in users], np.float32)

    def _of(self, similarity: sp.csr_array) -> Score:
        return lambda users: np.asarray(similarity[self._drawn[users]].toarray(), np.float32)

    def _recommended(self, users: np.ndarray) -> np.ndarray:
        [scores] = self.model.scores(self._alone, users, strangers=True)
        return scores.score

    @cached_property
    def _alone(self) -> Interactions:
        """The histories with nothing but what was drawn, which is watched and not rated."""
        watched = self.evaluator.history.watched
        users = self.evaluator.users
        ones = np.ones(len(users), np.float32)
        alone = sp.csr_array((ones, (users, self._drawn[users])), shape=watched.shape)
        residual = alone.copy()
        residual.data[:] = 0
        return Interactions(alone, residual)

    def _knn(self) -> Iterator[tuple[str, sp.csr_array]]:
        from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

        ratings = rated(self.training.interactions, self.training.expectation)
        for name, model in (
            ("item-kNN, BM25", BM25Recommender(NEIGHBOURS, K1=BM25_K1, B=BM25_B, num_threads=1)),
            ("item-kNN, cosine", CosineRecommender(NEIGHBOURS, num_threads=1)),
        ):
            with warnings.catch_warnings():
                # The library converts its own intermediate matrix, and warns of it.
                warnings.filterwarnings("ignore", "Method expects CSR input")
                model.fit(ratings, show_progress=False)
            yield name, sp.csr_array(model.similarity)


def _drawn(evaluator: Evaluator, rng: np.random.Generator) -> np.ndarray:
    """int64[U], by the row of a user asked about the row of one anime of the history."""
    watched = evaluator.history.watched
    drawn = np.zeros(watched.shape[0], np.int64)
    users = evaluator.users
    begins, counts = watched.indptr[users], np.diff(watched.indptr)[users]
    drawn[users] = watched.indices[begins + rng.integers(0, counts)]
    return drawn


def table(rows: Iterator[Row]) -> Iterator[str]:
    """The lines of a table of Markdown."""
    groups = ("head", "middle", "tail")
    headings = ("NDCG@10", "95 %", "8+", "Recall@10", "Recall@50", *groups)
    yield f"| by | {' | '.join(headings)} |"
    yield f"| --- |{' ---: |' * len(headings)}"
    for row in rows:
        low, high = row.intervals["ndcg"]
        names = ("ndcg_liked", "recall_10", "recall_50")
        numbers = [row.values[name] for name in names]
        numbers += [row.apart["ndcg"].get(group, 0.0) for group in groups]
        cells = [f"{row.values['ndcg']:.3f}", f"{low:.3f} to {high:.3f}"]
        yield f"| {row.model} | {' | '.join([*cells, *(f'{each:.3f}' for each in numbers)])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--on", choices=("validation", "test"), default="validation")
    parser.add_argument("--weights", action="store_true", help="other weights of the vectors")
    options = parser.parse_args()
    run = PersonalPreset().open(options.run)
    measured = Neighbours(run, Bundle.open(options.bundle), options.on)
    for line in table(measured.weights() if options.weights else measured.rows()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
