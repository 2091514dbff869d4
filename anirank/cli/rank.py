"""`anirank rank` and `anirank similar`: a table, from a façade or from a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anirank.cli import serve
from anirank.cli.caller import Caller
from anirank.cli.console import console
from anirank.cli.filters import FilterOptions
from anirank.cli.histories.own_list import MalExportFile, OwnList
from anirank.cli.histories.watched import pairs_of
from anirank.cli.options import spread

if TYPE_CHECKING:
    from anirank.contract.ranking_pb2 import RankRequest, RecommendRequest


@spread
def rank(
    user: Annotated[
        int | None, typer.Option(help="MyAnimeList user id. [default: a visitor without one]")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(help="Anime ids, as in 1,5,6. [default: the whole catalogue, less the seen]"),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="What the user has watched, as in 1:9,5: anime 1 rated 9, anime 5 not rated. "
            "[default: what is stored of the user]"
        ),
    ] = None,
    mal_export: MalExportFile = None,
    top: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show reasons in place of the genres.")
    ] = False,
    diversity: Annotated[
        float,
        typer.Option(help="0 to 1: how much anime that are alike are kept apart.", min=0, max=1),
    ] = 0.0,
    *,
    only: FilterOptions,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a façade to ask.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Or a bundle to rank with here.")] = None,
    trust: serve.Trust = None,
    caller: Caller,
) -> None:
    """Rank anime for a user, and show the best as a table."""
    if (address is None) == (bundle is None):
        raise typer.BadParameter("give either --address or --bundle")
    if history is not None and mal_export is not None:
        raise typer.BadParameter("give either --history or --mal-export")
    if diversity and candidates is not None:
        raise typer.BadParameter("--diversity: goes with the whole catalogue, not --candidates")
    from anirank.cli.listing import listing
    from handlers.local import LocalRanker

    request = _request(user, candidates, history, top, explain, diversity)
    only.add_to(request)
    own = None if mal_export is None else OwnList(mal_export)
    told = ""
    if bundle is not None:
        ranker = LocalRanker(bundle, trust or ())
        if own is not None:
            told = own.add_to(request, ranker.limits.history)
        reply = ranker.answer(request)
    else:
        with caller.client(str(address)) as client:
            if own is not None:
                told = own.add_to(request, client.model_info().limits.history)
            reply = client.answer(request)
    if told:
        console.print(told, markup=False, soft_wrap=True)
    console.print(listing(request, reply))


@spread
def similar(
    anime: Annotated[str, typer.Argument(help="Anime ids, as in 1,5,6.", show_default=False)],
    top: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    by: Annotated[
        Literal["crosses", "vectors", "both"] | None,
        typer.Option(
            help="crosses: watched by the same people; vectors: near in what the model has learnt. "
            "[default: both, where the model has both]"
        ),
    ] = None,
    include_adult: Annotated[
        bool, typer.Option("--include-adult", help="Keep adult titles.")
    ] = False,
    *,
    only: FilterOptions,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a façade to ask.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Or a bundle to look in here.")] = None,
    trust: serve.Trust = None,
    caller: Caller,
) -> None:
    """Show what is most like one anime or several, and what they have in common."""
    if (address is None) == (bundle is None):
        raise typer.BadParameter("give either --address or --bundle")
    from anirank.cli.listing import similar_listing
    from anirank.client.requests import similar_request
    from anirank.contract.ranking_pb2 import SimilarRequest
    from handlers.local import LocalRanker

    try:
        request = similar_request(
            map(int, anime.split(",")), top_k=top, include_adult=include_adult
        )
    except ValueError as error:
        raise typer.BadParameter(f"{anime}: {error}; takes ids as in 1,5,6") from None
    if by is not None:
        request.MergeFrom(SimilarRequest(likeness=f"LIKENESS_{by.upper()}"))
    only.add_to(request)
    if bundle is not None:
        reply = LocalRanker(bundle, trust or ()).answer(request)
    else:
        with caller.client(str(address)) as client:
            reply = client.answer(request)
    console.print(similar_listing(reply))


def _request(
    user: int | None,
    candidates: str | None,
    history: str | None,
    top: int,
    explain: bool,
    diversity: float,
) -> "RankRequest | RecommendRequest":
    from anirank.contract.ranking_pb2 import HistoryItem, RankRequest, RecommendRequest

    try:
        watched = [
            HistoryItem(anime_id=anime, rating=rating) for anime, rating in pairs_of(history)
        ]
        if candidates is None:
            return RecommendRequest(
                user_id=user, history=watched, top_k=top, explain=explain, diversity=diversity
            )
        ids = [int(each) for each in candidates.split(",")]
        return RankRequest(
            user_id=user, history=watched, candidate_ids=ids, top_k=top, explain=explain
        )
    except ValueError as error:
        given = {"--candidates": candidates, "--history": history, "--user": user}
        said = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
        raise typer.BadParameter(
            f"{said}: {error}; --candidates takes ids as in 1,5,6, --history as in 1:9,5"
        ) from None
