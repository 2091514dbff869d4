"""A run in one HTML file: what it reaches, how it learnt, and what it would tell a few people."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from jinja2 import Environment, PackageLoader, StrictUndefined

from anirank.errors import RunError
from training.comparison import charts
from training.comparison.baselines import BASELINES
from training.comparison.evaluator import TEN, Row
from training.comparison.ranking_metrics import top
from training.comparison.table import Comparison, compare
from training.interactions.interactions import Interactions
from training.personal.model import PersonalModel
from training.personal.reasons import Reasons
from training.run import PersonalRun, open_run, write_text
from training.splits import personal_split
from training.tables.tables import Tables, adult

SHORT, MIDDLE, LONG = 0.1, 0.5, 0.9  # places among all users by the length of their histories
NAMED = 5  # best and worst rated anime of a history
REASONS = 2  # watched anime named beside a recommendation, and one genre
# Of a column: (attribute, heading, what it is, whether the highest is best, None: neither).
COLUMNS = (
    ("rmse", "RMSE", "error of the predicted rating", False),
    ("mae", "MAE", "mean absolute error of the rating", False),
    ("ndcg", "NDCG@10", "of all that was held out", True),
    ("ndcg_liked", "NDCG@10, 8+", "of what was rated 8 or more", True),
    ("recall_10", "Recall@10", "share of the held-out anime in ten", True),
    ("recall_50", "Recall@50", "share of the held-out anime in fifty", True),
    ("hit_10", "Hit@10", "users with one of them in ten at least", True),
    ("coverage", "Coverage", "share of the anime in anybody's ten", None),
    ("popularity", "Popularity", "mean training ratings of the listed", None),
    ("overlap", "Overlap", "of two users' tens", None),
)


@dataclass(frozen=True)
class Cell:
    """A measure as text; `share`: of the widest bar of its column, 0 to 1; None: no bar."""

    text: str
    best: bool = False
    share: float | None = None
    interval: str = ""


@dataclass(frozen=True)
class Recommendation:
    """One anime of a ten. `because`: what speaks for it; `later`: the rating that was held out."""

    title: str
    genres: str
    rating: float
    because: str
    later: int | None


@dataclass(frozen=True)
class Person:
    """A user, or a visitor: the best and worst of the history (title, rating), and a ten."""

    name: str
    best: list[tuple[str, int]]
    worst: list[tuple[str, int]]
    ten: list[Recommendation]


def report(run_dir: Path, output: Path | None = None) -> Path:
    """Write the report of a `personal` run, to report.html in its folder unless `output` says else.

    The comparison kept in the run is taken, or made where there is none yet. Raises RunError and
    DataError.
    """
    run = open_run(run_dir)
    if not isinstance(run, PersonalRun):
        raise RunError(
            f"{run_dir}: a run of the preset {run.preset.name}; a report is made of personal ones"
        )
    comparison = Comparison.load(run) or compare(run)
    tables = run.tables()
    model = PersonalModel.load(run, tables)
    page = Environment(
        loader=PackageLoader("training", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")
    file = output or run.folder / "report.html"
    shown = _Shown.of(run, model, tables)
    own = {line.model for line in comparison.lines if _group(line) != "Baselines"}
    drawings = {"Learning curves": charts.learning(run.metrics())}
    if len(shown.test):  # none where all ratings were trained on
        drawings["Calibration of the rating"] = charts.calibration(*shown.test_ratings())
    drawings["Coverage against NDCG"] = charts.coverage(comparison.lines, own)
    text = page.render(
        comparison=comparison,
        columns=COLUMNS,
        groups=_groups(comparison.lines),
        charts=drawings,
        people=shown.people(),
        preset=run.preset,
        fingerprint=run.fingerprint[:12],
    )
    write_text(file, text)
    return file


def _group(line: Row) -> str:
    if line.model in BASELINES:
        return "Baselines"
    return "Visitors without an account" if line.model.startswith("visitor") else "This model"


def _groups(lines: list[Row]) -> dict[str, list[tuple[str, list[Cell]]]]:
    """Rows of the table under their headings."""
    best, widest = {}, {}
    for name, _, _, high in COLUMNS:
        values = [value for line in lines if (value := getattr(line, name)) is not None]
        widest[name] = max(values, default=1.0) or 1.0
        if values and high is not None:
            best[name] = f"{(max if high else min)(values):.3f}"
    groups: dict[str, list[tuple[str, list[Cell]]]] = {}
    for line in lines:
        cells = []
        for name, _, _, high in COLUMNS:
            value = getattr(line, name)
            if value is None:
                cells.append(Cell(""))
                continue
            text = f"{value:,.0f}" if name == "popularity" else f"{value:.3f}"
            found = getattr(line, f"{name}_interval", None)
            interval = f"{found[0]:.3f} to {found[1]:.3f}" if found else ""
            share = value / widest[name] if high else None
            cells.append(Cell(text, text == best.get(name), share, interval))
        groups.setdefault(_group(line), []).append((line.model, cells))
    return groups


@dataclass(frozen=True)
class _Shown:
    """What a few people would be shown."""

    model: PersonalModel
    tables: Tables
    history: Interactions
    test: np.ndarray
    listed: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, run: PersonalRun, model: PersonalModel, tables: Tables) -> "_Shown":
        parts = personal_split(tables, run.preset)
        history = Interactions.of(tables.ratings, parts.known, model.expectation, len(tables.users))
        listed = parts.listed("test", len(tables.anime))
        listed &= ~adult(tables.anime)
        return cls(model, tables, history, parts.test, listed, tables.anime["name"].tolist())

    def test_ratings(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and actual ratings of the test rows, float64[n] each."""
        held = self.tables.ratings.at(self.test)
        user, anime = held.user_row.astype(np.int64), held.anime_row.astype(np.int64)
        return self.model.ratings(self.history, user, anime), held.rating.astype(np.float64)

    def people(self) -> list[Person]:
        """Users of short, middling and long histories, and a visitor of whom nothing is known."""
        lengths = np.diff(self.history.watched.indptr)
        asked = np.unique(self.tables.ratings.user_row[self.test])
        users = asked if len(asked) else np.flatnonzero(lengths)
        order = users[np.argsort(lengths[users], kind="stable")]
        chosen = [int(order[int(place * (len(order) - 1))]) for place in (SHORT, MIDDLE, LONG)]
        empty = sp.csr_array((1, len(self.listed)), dtype=np.float32)
        nobody = _Shown(
            self.model,
            self.tables,
            Interactions(empty, empty.copy()),
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
        reasons = Reasons.of(self.model, self.history, user, np.arange(0))
        score[reasons.watched] = -np.inf
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
