"""`anirank histories`: record, show and forget by a façade, export and import at the store."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anirank.cli.caller import Caller
from anirank.cli.console import console
from anirank.cli.histories.watched import pairs_of
from anirank.cli.options import option, spread
from anirank.errors import naming_the_extra
from handlers.facade.settings import Settings

if TYPE_CHECKING:
    from anirank.contract.ranking_pb2 import KnownItem
    from handlers.histories.parquet import Counts
    from handlers.histories.store import Store

app = typer.Typer(
    help="What users have watched since the model was trained.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    no_args_is_help=True,
)

DEFAULT = Settings()

User = Annotated[int, typer.Argument(help="User id.", show_default=False)]
Address = Annotated[str, typer.Option(help="HOST:PORT of the façade.", show_default=False)]
Place = Annotated[str, typer.Option("--histories", metavar="PATH|redis://...", help="The store.")]
Size = Annotated[int, option("histories_mib")]


@app.command()
@spread
def record(
    user: User,
    items: Annotated[
        str,
        typer.Argument(
            help="What was watched, as in 1:9,5: anime 1 rated 9, anime 5 not rated.",
            show_default=False,
        ),
    ],
    address: Address,
    request_id: Annotated[
        str | None, typer.Option(help="Under which it counts once. [default: a new one]")
    ] = None,
    *,
    caller: Caller,
) -> None:
    """Record what a user has watched; the next request of theirs counts it."""
    try:
        watched = dict(pairs_of(items))
    except ValueError as error:
        raise typer.BadParameter(f"{items}: {error}; takes anime as in 1:9,5") from None
    with caller.client(address) as client:
        reply = client.record_watched(user, watched, request_id)
    again = ", unchanged: this request had been counted" if reply.repeated else ""
    console.print(f"user {user}: {reply.recorded} anime recorded{again}")


@app.command()
@spread
def show(
    user: User,
    address: Address,
    caller: Caller,
) -> None:
    """Show what requests of a user are ranked by."""
    from rich.table import Table

    from anirank.contract import ranking_pb2 as pb

    with caller.client(address) as client:
        reply = client.get_history(user)
    table = Table()
    for heading in ("anime", "rating", "recorded at"):
        table.add_column(heading, justify="right")
    for item in reply.items:
        table.add_row(*_row(item))
    live = pb.LiveHistory.Name(reply.live_history).removeprefix("LIVE_HISTORY_").lower()
    console.print(
        f"user {user}: {len(reply.items)} anime, live history: {live}, "
        f"model version {reply.model_version}"
    )
    if reply.items:
        console.print(table)


@app.command()
@spread
def forget(
    user: User,
    address: Address,
    caller: Caller,
) -> None:
    """Forget all that is known of a user, for good."""
    with caller.client(address) as client:
        reply = client.forget(user)
    console.print(f"user {user}: forgotten, with {reply.removed} anime that were recorded")


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="Parquet file to write.", show_default=False)],
    histories: Place,
    histories_mib: Size = DEFAULT.histories_mib,
) -> None:
    """Write all that is recorded, and who was forgotten, to a file that `train` reads."""
    with naming_the_extra("histories"):
        from handlers.histories.parquet import export_to
    found = _at(histories, histories_mib, lambda store: export_to(store, file), create=False)
    console.print(f"{file}: {_told(found)}", soft_wrap=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that `export` wrote.", show_default=False)],
    histories: Place,
    histories_mib: Size = DEFAULT.histories_mib,
) -> None:
    """Take what another store had into this one; façades may go on meanwhile."""
    with naming_the_extra("histories"):
        from handlers.histories.parquet import import_from
    found = _at(histories, histories_mib, lambda store: import_from(store, file), create=True)
    console.print(f"{file}: taken in: {_told(found)}", soft_wrap=True)


def _at(
    place: str, size_mib: int, do: "Callable[[Store], Awaitable[Counts]]", create: bool
) -> "Counts":
    """What is done at a store, which is opened for it."""
    from handlers.histories.opening import open_store

    async def done() -> "Counts":
        store = open_store(place, size_mib, create)
        try:
            await store.forgotten()  # whether it is one of ours
            return await do(store)
        finally:
            await store.close()

    return asyncio.run(done())


def _row(item: "KnownItem") -> Any:
    at = item.recorded_at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
    return (
        str(item.anime_id),
        f"{item.rating:g}" if item.HasField("rating") else "",
        at if item.HasField("recorded_at") else "",
    )


def _told(found: "Counts") -> str:
    users = f"{found.users:,} user{'s' * (found.users != 1)}"
    return f"{found.items:,} anime of {users}; forgotten: {found.forgotten:,}"
