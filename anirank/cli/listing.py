"""A reply as a table on a terminal."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from anirank.contract import ranking_pb2 as pb


def listing(reply: pb.RankReply, title: str, explain: bool) -> Group:
    """The ranked anime, with reasons or else genres, and the candidates that nobody knows."""
    table = Table(title=escape(title), title_justify="left")
    column = "reasons" if explain else "genres"
    for heading in ("rank", "anime", "title", column, "predicted score"):
        table.add_column(heading, justify="left" if heading in ("title", column) else "right")
    for place, anime in enumerate(reply.ranking, start=1):
        about = "\n".join(map(because, anime.reasons)) if explain else anime.genres
        row = (str(place), str(anime.anime_id), anime.title, about, f"{anime.rating:.2f}")
        table.add_row(*map(escape, row))
    unknown = ", ".join(map(str, reply.unknown_candidates))
    return Group(table, *([f"not in the catalogue: {unknown}"] if unknown else []))


def because(reason: pb.Reason) -> str:
    """A reason as one says it: ``because you rated Cowboy Bebop 9``."""
    if reason.WhichOneof("source") == "genre":
        return f"because of your taste in {reason.genre}"
    anime = reason.anime
    if anime.HasField("rating"):
        return f"because you rated {anime.title} {anime.rating:g}"
    return f"because you watched {anime.title}"
