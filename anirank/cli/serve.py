"""`anirank serve`, `health`, `info` and `torchserve`: parse and hand over."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from anirank.cli.caller import Caller, TlsCa, TlsCert, TlsKey
from anirank.cli.options import from_settings, option, settings_of, spread
from anirank.errors import BackendUnavailable
from handlers.facade.settings import Settings

DEFAULT = Settings()
console = Console(highlight=False)

Store = Annotated[Path, option("store")]
Name = Annotated[str, option("name")]
Trust = Annotated[list[Path] | None, option("trust")]


@from_settings
def serve(**given: Any) -> None:
    """Answer gRPC (anime.ranking.v1.RankingService), and HTTP, until SIGTERM or Ctrl-C."""
    # gRPC's core would write a line of its own for every handshake that fails; it reads this once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    settings = settings_of(given)
    if settings.workers == 1:
        from handlers.facade import process

        process.serve(settings, _announce)
    else:  # and nothing of grpc in this process
        from handlers.facade.workers import supervisor

        supervisor.serve(settings, _announce)


def health(
    address: Annotated[str, typer.Option(help="HOST:PORT of the façade.")] = "127.0.0.1:50051",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 3.0,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    server_name: Annotated[
        str | None,
        typer.Option(
            help="With --tls-ca: the name its certificate is for. [default: that of --address]"
        ),
    ] = None,
) -> None:
    """Ask a façade whether it would answer requests now; exit code 0 where it would."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from anirank.client.channel import Route
    from anirank.client.failures import error_of_call

    states = health_pb2.HealthCheckResponse
    with Route.to(address, tls_ca, tls_cert, tls_key).channel(server_name) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        try:
            status = check(health_pb2.HealthCheckRequest(), timeout=timeout).status
        except grpc.RpcError as error:
            raise BackendUnavailable(f"{address}: {error_of_call(error)}") from error
    said = states.ServingStatus.Name(status)
    if status != states.SERVING:
        raise BackendUnavailable(f"{address}: says {said}")
    console.print(said)


@spread
def info(
    address: Annotated[str, typer.Option(help="HOST:PORT of the façade.")] = "127.0.0.1:50051",
    version: Annotated[
        str, typer.Option(help="The version to describe. [default: the newest of those served]")
    ] = "",
    *,
    caller: Caller,
) -> None:
    """Show as JSON which model a façade answers with, its limits and what it can filter by."""
    import json

    from handlers.forms.json.info import write_info

    with caller.client(address) as client:
        told = client.model_info(version)
    print(json.dumps(write_info(told), ensure_ascii=False, indent=2))


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
