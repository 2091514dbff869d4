"""A reply as a table on a terminal."""

from collections.abc import Iterable

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from anirank.client.requests import Request
from anirank.contract import ranking_pb2 as pb

_LIKENESSES = {
    pb.LIKENESS_CROSSES: "who watches both",
    pb.LIKENESS_VECTORS: "the vectors of both",
    pb.LIKENESS_BOTH: "who watches both, and their vectors",
}


def listing(request: Request, reply: pb.RankReply) -> Group:
    """The ranked anime under who they are for, and the ids that the catalogue does not have.

    Each stands with the reasons, where the request asks for them, or else its genres.
    """
    about = "reasons" if request.explain else "genres"
    table = Table()
    for heading in ("rank", "anime", "title", about, "score", "predicted\nrating"):
        table.add_column(heading, justify="left" if heading in ("title", about) else "right")
    for place, anime in enumerate(reply.ranking, start=1):
        table.add_row(
            *(str(place), str(anime.anime_id), escape(anime.title)),
            escape("\n".join(map(because, anime.reasons)) if request.explain else anime.genres),
            *(f"{anime.score:.2f}", f"{anime.rating:.2f}"),
        )
    return Group(
        Text(known_by(request, reply), style="italic"),  # a table's title folds where it is narrow
        table,
        f"{_order(request)}: {_score(request)}",
        *_unknown("not in the catalogue", reply.unknown_candidates),
        *_unknown("history not in the catalogue", reply.unknown_history),
    )


def similar_listing(reply: pb.SimilarReply) -> Group:
    """What is alike, each with what it has in common with those asked about."""
    table = Table()
    for heading in ("rank", "anime", "title", "in common", "score"):
        table.add_column(heading, justify="left" if heading in ("title", "in common") else "right")
    for place, anime in enumerate(reply.ranking, start=1):
        common = escape("\n".join(in_common(anime)))
        table.add_row(
            str(place), str(anime.anime_id), escape(anime.title), common, f"{anime.score:.3f}"
        )
    return Group(
        table,
        f"by {_LIKENESSES[reply.likeness]}",
        *_unknown("not in the catalogue", reply.unknown_anime),
    )


def in_common(anime: pb.SimilarAnime) -> list[str]:
    """What an anime shares, as one says it: ``watched by the same people as Cowboy Bebop``."""
    watched = [each.title for each in anime.watched_together]
    return [
        *([", ".join(anime.shared_genres)] if anime.shared_genres else []),
        *([f"made by {', '.join(anime.shared_studios)}"] if anime.shared_studios else []),
        *(f"watched by the same people as {title}" for title in watched),
    ]


def _order(request: Request) -> str:
    apart = isinstance(request, pb.RecommendRequest) and request.diversity
    return f"chosen one by one, diversity {apart:g}, by score" if apart else "ordered by score"


def known_by(request: Request, reply: pb.RankReply) -> str:
    """How the user was known: ``user 7: known, by 63 watched anime``."""
    given = len({item.anime_id for item in request.history})
    if given and not reply.history_size and given > len(reply.unknown_history):
        by = ", without the history given: the model takes none"
    elif given:
        some = f"{reply.history_size} of " if reply.history_size < given else ""
        by = f", by {some}the {given} anime given"
    else:
        by = f", by {reply.history_size} watched anime" if reply.history_size else ""
    if reply.live_history == pb.LIVE_HISTORY_UNAVAILABLE:
        by += "; the store of histories does not answer"
    if not request.HasField("user_id"):
        return f"a visitor{by}"
    if reply.familiarity == pb.FAMILIARITY_KNOWN:
        return f"user {request.user_id}: known{by}"
    if reply.live_history == pb.LIVE_HISTORY_COUNTED and not given:
        return f"user {request.user_id}: not known to the model{by}"
    return f"user {request.user_id} is not known: ranked as a visitor{by}"


def because(reason: pb.Reason) -> str:
    """A reason as one says it: ``because you rated Cowboy Bebop 9``."""
    if reason.WhichOneof("source") == "genre":
        return f"because of your taste in {reason.genre}"
    anime = reason.anime
    if anime.HasField("rating"):
        return f"because you rated {anime.title} {anime.rating:g}"
    return f"because you watched {anime.title}"


def _score(request: Request) -> str:
    alone = {pb.OBJECTIVE_RATING: "the predicted rating", pb.OBJECTIVE_AFFINITY: "the affinity"}
    return alone.get(request.objective, "the affinity blended with the predicted rating")


def _unknown(what: str, ids: Iterable[int]) -> list[str]:
    listed = ", ".join(map(str, ids))
    return [f"{what}: {listed}"] if listed else []
