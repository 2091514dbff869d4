"""The proto messages of what is alike: a request as a query, and an answer as a message."""

import numpy as np

from anirank.contract import ranking_pb2 as pb
from anirank.errors import quoted
from bundles.bundle import Bundle
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal
from handlers.forms.messages import LIKENESSES, read_filter
from handlers.forms.replies import duration
from handlers.similar.query import ANSWERED, Common, Likeness, SimilarQuery, SimilarRanking


def read_similar(request: pb.SimilarRequest, limits: Limits) -> SimilarQuery:
    """The query in a SimilarRequest; raises InvalidQuery with all that is wrong in it."""
    refusal = Refusal()
    few = refusal.bounded("anime_ids", len(request.anime_ids), 1, limits.history)
    query = SimilarQuery(
        anime_ids=np.array(request.anime_ids if few else (), np.int64),
        top_k=request.top_k or ANSWERED,
        likeness=_likeness(request.likeness, refusal),
        include_adult=request.include_adult,
        filter=read_filter(request, limits, refusal),
    )
    if refusal:
        raise refusal.error()
    return query


def write_similar(ranking: SimilarRanking, bundle: Bundle, queue_s: float) -> bytes:
    """The reply to a request that waited `queue_s` seconds for its batch."""
    catalogue = bundle.catalogue
    rows = catalogue.rows(ranking.anime_ids).tolist()
    titles = titles_of(ranking, bundle)
    columns = (ranking.anime_ids, ranking.scores, ranking.crosses, ranking.vectors)
    reply = pb.SimilarReply(
        ranking=[
            pb.SimilarAnime(
                anime_id=anime_id,
                title=catalogue.titles[row],
                genres=catalogue.genres[row],
                score=score,
                crosses=crosses,
                vectors=vectors,
                shared_genres=common.genres,
                shared_studios=common.studios,
                watched_together=_together(common, titles),
            )
            for row, common, anime_id, score, crosses, vectors in zip(
                rows, ranking.common, *(column.tolist() for column in columns), strict=True
            )
        ],
        unknown_anime=ranking.unknown.tolist(),
        likeness=LIKENESSES[ranking.likeness],
        model_version=bundle.manifest.version,
        queue_time=duration(queue_s),
        compute_time=duration(ranking.compute_s),
    )
    return bytes(reply.SerializeToString())


def titles_of(ranking: SimilarRanking, bundle: Bundle) -> dict[int, str]:
    """By id, the titles of what was watched together with an anime of an answer."""
    watched = np.array([each for of in ranking.common for each, _ in of.watched], np.int64)
    rows = bundle.catalogue.rows(watched).tolist()
    return dict(zip(watched.tolist(), (bundle.catalogue.titles[row] for row in rows), strict=True))


def _likeness(value: int, refusal: Refusal) -> Likeness | None:
    if value == pb.LIKENESS_UNSPECIFIED:
        return None
    try:
        return Likeness(value)
    except ValueError:
        known = ", ".join(f"{each.name} ({each})" for each in Likeness)
        refusal.add("likeness", f"{quoted(value)} is not one of {known}")
        return None


def _together(common: Common, titles: dict[int, str]) -> list[pb.WatchedTogether]:
    return [
        pb.WatchedTogether(anime_id=anime_id, title=titles[anime_id], weight=weight)
        for anime_id, weight in common.watched
    ]
