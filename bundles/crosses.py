"""The wide part taken apart: what each anime of a history, and each genre, adds to a candidate.

The graph holds the same numbers and answers their sum, `wide`. For a history of H anime of the
catalogue, of which some are rated, and a candidate c,

    wide(c) = Σ_h (1 + taste · liked_h) · cross[h, c] + Σ_{g of c} genre_g

    residual_h = rating_h - expected_h           of those that are rated
    liked_h = residual_h - offset, 0 if unrated  offset = Σ residual_h / (rated + damping)
    genre_g = liking_g · Σ_{h of g} liked_h / (m_g + genre_damping)     m_g of the history are of g
            + watching_g · (m_g - usual_g · H) / (H + genre_damping)

An anime that stands twice in the history counts twice; one outside of the catalogue does not count.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError
from bundles import arrays
from bundles.wide import Wide


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """What a history adds to C candidates, in the units of `wide`; all of it sums to `wide`.

    watched: int64[n], places in the history; candidate: int64[n], places among the candidates;
    value: float64[n], what that anime adds to that candidate, nothing being left out.
    genre: float64[C, G], what each genre adds, 0 where the candidate is not of it.
    """

    watched: NDArray[np.int64]
    candidate: NDArray[np.int64]
    value: NDArray[np.float64]
    genre: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Crosses:
    """The tables behind the wide part, one row an anime of the catalogue.

    candidate: int32[A, K], rows of the catalogue; weight: float32[A, K], 0 where there is no cross;
    expected: float64[A], the rating an anime lets expect; genre: bool[A, G], of which it is;
    wide: the numbers beside them. Raises ValueError where these do not fit each other.
    """

    FILES: ClassVar = ("candidate.npy", "weight.npy", "expected.npy", "genre.npy")

    candidate: NDArray[np.int32]
    weight: NDArray[np.float32]
    expected: NDArray[np.float64]
    genre: NDArray[np.bool_]
    wide: Wide

    def __post_init__(self) -> None:
        anime, kept = len(self), self.candidate.shape[1]
        for name, shape, right in (
            ("candidate.npy", self.candidate.shape, (anime, kept)),
            ("weight.npy", self.weight.shape, (anime, kept)),
            ("expected.npy", self.expected.shape, (anime,)),
            ("genre.npy", self.genre.shape, (anime, len(self.wide.genres))),
        ):
            if shape != right:
                raise ValueError(f"{name}: {list(shape)}, should be {list(right)}")
        if np.any(self.candidate < 0) or np.any(self.candidate >= anime):
            raise ValueError(f"candidate.npy: should be rows from 0 to {anime - 1}")

    @classmethod
    def read(cls, folder: Path, wide: Wide) -> "Crosses":
        """The crosses in `folder`, of which the manifest says `wide`.

        Raises BundleError where the files do not hold any.
        """
        try:
            return cls(
                candidate=arrays.load(folder / "candidate.npy", np.int32, 2),
                weight=arrays.load(folder / "weight.npy", np.float32, 2),
                expected=arrays.load(folder / "expected.npy", np.float64),
                genre=arrays.load(folder / "genre.npy", np.bool_, 2),
                wide=wide,
            )
        except ValueError as error:
            raise BundleError(f"{folder}/{error}") from error

    def write(self, folder: Path) -> None:
        """Write the tables to `folder`, a new one; `wide` stands in the manifest."""
        folder.mkdir()
        arrays.save(folder / "candidate.npy", self.candidate, np.int32)
        arrays.save(folder / "weight.npy", self.weight, np.float32)
        arrays.save(folder / "expected.npy", self.expected, np.float64)
        arrays.save(folder / "genre.npy", self.genre, np.bool_)

    def __len__(self) -> int:
        return len(self.weight)

    def contributions(
        self,
        history: NDArray[np.intp],
        ratings: NDArray[np.float32],
        candidates: NDArray[np.intp],
    ) -> Contributions:
        """Take the wide scores of some candidates apart.

        history: int[H], rows of the catalogue; ratings: float32[H], NaN = not rated;
        candidates: int[C], rows of the catalogue, each once.
        """
        rated = ~np.isnan(ratings)
        residual = np.where(rated, ratings - self.expected[history], 0)
        offset = residual.sum() / (rated.sum() + self.wide.damping)
        liked = np.where(rated, residual - offset, 0)
        place = np.full(len(self.expected), -1, np.int64)
        place[candidates] = np.arange(len(candidates))
        weight, candidate = self.weight[history], place[self.candidate[history]]
        watched, at = np.nonzero((candidate >= 0) & (weight != 0))
        weighed = (1 + self.wide.taste * liked[watched]) * weight[watched, at]
        by_genre = self.genre[candidates] * self._genres(self.genre[history], liked)
        return Contributions(watched, candidate[watched, at], weighed, by_genre)

    def _genres(self, member: NDArray[np.bool_], liked: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[G], what each genre adds to a candidate of it; member: bool[H, G]."""
        liking, watching, usual = self._numbers
        damping, length, watched = self.wide.genre_damping, len(member), member.sum(0)
        like = liked @ member / (watched + damping)
        share = (watched - usual * length) / (length + damping)
        added: NDArray[np.float64] = liking * like + watching * share
        return added

    @cached_property
    def _numbers(self) -> NDArray[np.float64]:
        """float64[3, G]: liking, watching and usual of each genre."""
        numbers = [[genre.liking, genre.watching, genre.usual] for genre in self.wide.genres]
        return np.array(numbers, np.float64).reshape(-1, 3).T
