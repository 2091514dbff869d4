"""Reasons with their names: what the JSON form and the proto messages are written from."""

from typing import NamedTuple

from bundles.bundle import Bundle
from handlers.engine.query import Ranking


class Reason(NamedTuple):
    """An anime of the history, or a genre where `genre` is given; `rating` is None if unrated."""

    contribution: float
    genre: str | None
    anime_id: int
    title: str
    rating: float | None


class Explanation(NamedTuple):
    """What one anime's wide score is made of; all of it sums to the score."""

    reasons: list[Reason]
    rest: float


def explanations(ranking: Ranking, bundle: Bundle) -> list[Explanation | None]:
    """The explanation of each ranked anime, None for all where none was asked for."""
    found = ranking.reasons
    if found is None:
        return [None] * len(ranking.anime_ids)
    genres = bundle.manifest.wide.genres if bundle.manifest.wide else ()
    titles, rows = bundle.catalogue.titles, bundle.catalogue.rows(found.anime_ids).tolist()
    named = [
        Reason(contribution, genres[genre].name, 0, "", None)
        if genre >= 0
        else Reason(contribution, None, anime_id, titles[row], rating if rating >= 1 else None)
        for contribution, genre, anime_id, row, rating in zip(
            found.contributions.tolist(),
            found.genres.tolist(),
            found.anime_ids.tolist(),
            rows,
            found.ratings.tolist(),
            strict=True,
        )
    ]
    ends, rests = found.offsets.tolist(), found.rests.tolist()
    return [Explanation(named[ends[i] : ends[i + 1]], rest) for i, rest in enumerate(rests)]
