"""`anirank serve` and `anirank torchserve` on the command line: parse and hand over."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from anirank.cli.options import from_settings, option, settings_of
from handlers.facade.settings import Settings

DEFAULT = Settings()
console = Console(highlight=False)

Store = Annotated[Path, option("store")]
Name = Annotated[str, option("name")]
Trust = Annotated[list[Path] | None, option("trust")]


@from_settings
def serve(**given: Any) -> None:
    """Answer gRPC (anime.ranking.v1.RankingService) until SIGTERM or Ctrl-C."""
    # gRPC's core would write a line of its own for every handshake that fails; it reads this once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    settings = settings_of(given)
    if settings.workers == 1:
        from handlers.facade import process

        process.serve(settings, _announce)
    else:  # and nothing of grpc in this process
        from handlers.facade.workers import supervisor

        supervisor.serve(settings, _announce)


def torchserve(
    store: Store = DEFAULT.store,
    name: Name = DEFAULT.name,
    rest_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 7070,
    trust: Trust = None,
) -> None:
    """Run a TorchServe for a .mar, closed but to its key holders, until SIGTERM or Ctrl-C."""
    from anirank.cli.torchserve import run

    archive = store / f"{name}.mar"
    run(archive, _announce, rest_port=rest_port, grpc_port=grpc_port, trust=trust or ())


def _announce(lines: str) -> None:
    console.print(lines, soft_wrap=True)
