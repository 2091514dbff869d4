"""What is asked: requests drawn before the measurement, from distributions that one can name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

POOL = 2_000  # distinct requests; sent in turn, again and again
ZIPF = 1.0  # exponent: the k-th most popular id comes 1/k as often as the first
UNRATED = 0.1  # share of a history's anime without a rating

Ids = NDArray[np.int64]


class WorkloadError(ValueError):
    """A distribution that cannot be drawn from; the message is one line, fit to be shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One request: int64[N] candidates for a user of int64[H] history, float32[H] ratings."""

    user_id: int
    candidate_ids: Ids
    history_ids: Ids
    history_ratings: NDArray[np.float32]
    top_k: int


@dataclass(frozen=True)
class Lines:
    """A fixed count, or the lines of a file: each a count, or the ids themselves."""

    lines: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, given: str) -> "Lines":
        """`given` is a count, or the path of a file; raises WorkloadError where it is neither.

        In a file a line of one number is a count, a line of several (spaces or commas between
        them) is a list of ids. Empty lines are left out.
        """
        if given.isdecimal():
            return cls(((int(given),),))
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WorkloadError(f"{given}: not a count, and no file to read ({error})") from error
        lines = []
        for number, line in enumerate(text.splitlines(), start=1):
            words = re.split(r"[\s,]+", line.strip())
            if words == [""]:
                continue
            if not all(word.isdecimal() for word in words):
                raise WorkloadError(f"{given}, line {number}: {line!r} is not a count, nor ids")
            lines.append(tuple(map(int, words)))
        if not lines:
            raise WorkloadError(f"{given}: holds no line")
        return cls(tuple(lines))

    def draw(self, random: np.random.Generator, of: Callable[[int], Ids]) -> Ids:
        """The ids of a line taken at random; a count is filled by `of`."""
        line = self.lines[int(random.integers(len(self.lines)))]
        return of(line[0]) if len(line) == 1 else np.array(line, np.int64)


class Zipf:
    """Draws ids so that the k-th of them comes in proportion to k to the minus `exponent`."""

    def __init__(self, ids: Sequence[int] | Ids, exponent: float = ZIPF) -> None:
        """Of `ids`, the most popular first."""
        if len(ids) == 0:
            raise WorkloadError("no ids to draw from")
        self._ids = np.asarray(ids, np.int64)
        weights = np.arange(1, len(ids) + 1, dtype=np.float64) ** -exponent
        self._upto = np.cumsum(weights / weights.sum())

    def draw(self, random: np.random.Generator, count: int) -> Ids:
        """int64[count], with repetition."""
        found = np.searchsorted(self._upto, random.random(count), side="right")
        return self._ids[np.minimum(found, len(self._ids) - 1)]

    def distinct(self, random: np.random.Generator, count: int) -> Ids:
        """int64[count], each once, the popular ones likelier; fewer where there are not as many."""
        count = min(count, len(self._ids))
        weights = np.diff(self._upto, prepend=0.0)
        # Efraimidis and Spirakis (2006): the smallest of exponentials by weight are such a draw.
        keys = random.standard_exponential(len(self._ids)) / weights
        return self._ids[np.argpartition(keys, count - 1)[:count]] if count else self._ids[:0]


@dataclass(frozen=True)
class Workload:
    """The distributions: lengths of candidates and histories, and how skewed the ids are."""

    candidates: Lines
    history: Lines
    top_k: int = 10
    exponent: float = ZIPF
    seed: int = 0

    def asks(self, users: Sequence[int] | Ids, anime: Ids, count: int = POOL) -> list[Ask]:
        """`count` requests for users and anime of these ids; the same seed draws the same ones."""
        random = np.random.default_rng(self.seed)
        # Which are the popular ones is chance, but the same in every run.
        by_user = Zipf(random.permutation(np.asarray(users, np.int64)), self.exponent)
        by_anime = Zipf(random.permutation(anime), self.exponent)
        user_ids = by_user.draw(random, count).tolist()
        return [self._ask(random, user_id, by_anime) for user_id in user_ids]

    def _ask(self, random: np.random.Generator, user_id: int, by_anime: Zipf) -> Ask:
        def of(count: int) -> Ids:
            return by_anime.distinct(random, count)

        history = self.history.draw(random, of)
        ratings = random.integers(1, 11, len(history)).astype(np.float32)
        ratings[random.random(len(history)) < UNRATED] = np.nan
        return Ask(user_id, self.candidates.draw(random, of), history, ratings, self.top_k)
