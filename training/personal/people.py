"""What a `personal` model would tell a few people, for its report."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from training.comparison.held_out import asked_users
from training.comparison.metrics import TEN
from training.comparison.ranking_metrics import top
from training.comparison.report import Person, Recommendation
from training.interactions.interactions import Interactions
from training.personal.model import PersonalModel
from training.personal.reasons import Reasons
from training.personal.run import PersonalRun
from training.tables.tables import Tables, adult

SHORT, MIDDLE, LONG = 0.1, 0.5, 0.9  # places among all users by the length of their histories
NAMED = 5  # best and worst rated anime of a history
REASONS = 2  # watched anime named beside a recommendation, and one genre


@dataclass(frozen=True)
class Showcase:
    """A model, and what it is asked with. `left_out`: [U, A], what no list is made of."""

    model: PersonalModel
    tables: Tables
    history: Interactions
    left_out: sp.csr_array
    test: np.ndarray
    listed: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, run: PersonalRun, model: PersonalModel, tables: Tables) -> "Showcase":
        """Ask with what the run holds out, of the anime that are not for adults alone."""
        parts = run.parts(tables)

        def of(rows: np.ndarray) -> Interactions:
            return Interactions.of(tables.ratings, rows, model.expectation, len(tables.users))

        history, left_out = of(parts.known), of(parts.left_out("test")).watched
        listed = parts.listed("test", len(tables.anime))
        listed &= ~adult(tables.anime)
        return cls(
            model, tables, history, left_out, parts.test, listed, tables.anime["name"].tolist()
        )

    def test_ratings(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Predicted and actual ratings of the test rows of those who are asked about in a
        comparison, float64[n] each; None of no rows."""
        if not len(self.test):
            return None
        held = self.tables.ratings.at(self.test)
        held = held.at(np.flatnonzero(np.isin(held.user_row, asked_users(held))))
        user, anime = held.user_row.astype(np.int64), held.anime_row.astype(np.int64)
        return self.model.ratings(self.history, user, anime), held.rating.astype(np.float64)

    def people(self) -> list[Person]:
        """Users of short, middling and long histories, and a visitor of whom nothing is known."""
        lengths = np.diff(self.history.watched.indptr)
        asked = np.unique(self.tables.ratings.user_row[self.test])
        users = asked if len(asked) else np.flatnonzero(lengths)
        order = users[np.argsort(lengths[users], kind="stable")]
        chosen = [int(order[int(place * (len(order) - 1))]) for place in (SHORT, MIDDLE, LONG)]
        nothing = Interactions.nobody(len(self.listed))
        nobody = Showcase(
            self.model,
            self.tables,
            nothing,
            nothing.watched,
            np.empty(0, dtype=np.int64),
            self.listed,
            self.names,
        )
        visitor = nobody._person(0, "A visitor of whom nothing is known", stranger=True)
        known = [self._person(user, f"A user of {lengths[user]:,} ratings") for user in chosen]
        return [*known, visitor]

    def _person(self, user: int, name: str, stranger: bool = False) -> Person:
        [scores] = self.model.scores(self.history, np.array([user]), strangers=stranger)
        score = np.where(self.listed, scores.score[0], -np.inf)
        score[self.left_out[[user]].indices] = -np.inf
        ten = top(score[np.newaxis], TEN)[0]
        reasons = Reasons.of(self.model, self.history, user, ten)
        rows = np.full(len(ten), user)
        ratings = self.model.ratings(self.history, rows, ten, strangers=stranger)
        test = self.tables.ratings.at(self.test)
        own = test.user_row == user
        later = dict(zip(test.anime_row[own].tolist(), test.rating[own].tolist(), strict=True))
        order = np.argsort(-reasons.rating, kind="stable")
        named = [
            (self.names[reasons.watched[at]], round(float(reasons.rating[at]))) for at in order
        ]
        genres = self.tables.anime["genres"]
        return Person(
            name,
            named[:NAMED],
            [each for each in named[NAMED:][-NAMED:] if each[1] < named[NAMED - 1][1]],
            [
                Recommendation(
                    title=self.names[anime],
                    genres=", ".join(genres[anime]),
                    rating=float(ratings[place]),
                    because=self._because(reasons, place),
                    later=later.get(int(anime)),
                )
                for place, anime in enumerate(ten)
            ],
        )

    def _because(self, reasons: Reasons, place: int) -> str:
        watched = [
            f"{self.names[anime]} {rating:.0f}"
            for anime, rating, _ in reasons.best_watched(place, REASONS)
        ]
        genre = reasons.best_genre(place)
        rated = f"because you rated {' and '.join(watched)}" if watched else ""
        if genre is None:
            return rated
        taste = f"of your taste in {genre[0]}"
        return f"{rated}, and because {taste}" if rated else f"because {taste}"
