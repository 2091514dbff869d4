"""`anirank serve` and `anirank torchserve` on the command line: parse and hand over."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from handlers.facade.settings import NEWEST, BackendName, Level, Settings

DEFAULT = Settings()
console = Console(highlight=False)

Store = Annotated[Path, typer.Option(help="Folder of bundles and .mar files.")]
Name = Annotated[str, typer.Option(help="Name of the model in the store.")]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        metavar="FILE",
        help="PEM of a public key: refuse what it has not signed. May be given more than once.",
    ),
]


def serve(
    store: Store = DEFAULT.store,
    name: Name = DEFAULT.name,
    version: Annotated[
        list[str] | None,
        typer.Option(
            help="VERSION, or VERSION=WEIGHT once for each of those that share the requests; "
            "`newest` is a version too. [default: newest]"
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Switch to a newer version as soon as it is there.")
    ] = DEFAULT.watch,
    trust: Trust = None,
    backend: Annotated[
        BackendName, typer.Option(help="Compute in this process, or in a TorchServe.")
    ] = DEFAULT.backend,
    address: Annotated[
        str, typer.Option(help="HOST:PORT to listen on; port 0 takes a free one.")
    ] = DEFAULT.address,
    device: Annotated[str, typer.Option(help="onnxruntime: cpu, cuda or cuda:1.")] = DEFAULT.device,
    threads: Annotated[
        int, typer.Option(help="onnxruntime: threads for one batch.", min=1)
    ] = DEFAULT.threads,
    torchserve: Annotated[
        str | None,
        typer.Option(
            help="torchserve: HOST:PORT of the gRPC of one that runs. [default: start one]"
        ),
    ] = DEFAULT.torchserve,
    keys: Annotated[
        Path, typer.Option(help="torchserve: the key_file.json of the one that runs.")
    ] = DEFAULT.keys,
    management: Annotated[
        str | None,
        typer.Option(
            help="torchserve: URL of its management API, to renew its keys with. "
            "[default: they are read again when the file changes]"
        ),
    ] = DEFAULT.management,
    calls: Annotated[
        int, typer.Option(help="torchserve: batches it is given at a time, one a worker.", min=1)
    ] = DEFAULT.calls,
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback", help="torchserve: compute in this process what it does not answer."
        ),
    ] = DEFAULT.fallback,
    workers: Annotated[
        int, typer.Option(help="Processes that share the address.", min=1)
    ] = DEFAULT.workers,
    grace: Annotated[
        float, typer.Option(help="Seconds that what is in flight has to end in.", min=0)
    ] = DEFAULT.grace_s,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM of the server's certificate chain; turns TLS on.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM of its private key.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM of authorities; only clients with a certificate of theirs get in."),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of bearer tokens, one a line; only who shows one gets in."),
    ] = None,
    insecure_public: Annotated[
        bool,
        typer.Option(
            "--insecure-public", help="Listen to other machines without TLS. Anyone there may ask."
        ),
    ] = False,
    metrics_address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT to show metrics on to Prometheus, as in 127.0.0.1:9100. [default: none]"
        ),
    ] = DEFAULT.metrics_address,
    log_level: Annotated[
        Level, typer.Option(help="The gravest alone, or down to a line for each request: debug.")
    ] = DEFAULT.log_level,
    tracing: Annotated[
        bool,
        typer.Option("--tracing", help="Send spans by OTLP; the variables OTEL_... say where."),
    ] = DEFAULT.tracing,
) -> None:
    """Answer gRPC (anime.ranking.v1.RankingService) until SIGTERM or Ctrl-C."""
    # gRPC's core would write a line of its own for every handshake that fails; it reads this once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    weights = _weights(version) if version else DEFAULT.versions
    if watch and NEWEST not in weights:
        raise typer.BadParameter("--watch: has nothing to wait for; give --version newest as well")
    if watch and workers > 1 and backend == "torchserve" and torchserve is None:
        raise typer.BadParameter(
            "--watch: several workers cannot change a TorchServe of their own; give --torchserve, "
            "or leave out --workers"
        )
    settings = Settings(
        store=store,
        name=name,
        versions=weights,
        watch=watch,
        backend=backend,
        address=address,
        device=device,
        threads=threads,
        torchserve=torchserve,
        keys=keys,
        management=management,
        calls=calls,
        fallback=fallback,
        workers=workers,
        grace_s=grace,
        trust=tuple(trust or ()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        tokens=tokens,
        insecure_public=insecure_public,
        metrics_address=metrics_address,
        log_level=log_level,
        tracing=tracing,
    )

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if workers == 1:
        from handlers.facade import process

        process.serve(settings, say)
    else:  # and nothing of grpc in this process
        from handlers.facade.workers import supervisor as parent

        parent.serve(settings, say)


def torchserve(
    store: Store = DEFAULT.store,
    name: Name = DEFAULT.name,
    rest_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 7070,
    trust: Trust = None,
) -> None:
    """Run a TorchServe for a .mar, closed but to its key holders, until SIGTERM or Ctrl-C."""
    import signal

    from handlers.torchserve.server import TorchServe
    from handlers.torchserve.supervision import RENEWAL_S, renew

    archive = store / f"{name}.mar"
    with TorchServe(archive, rest_port, grpc_port, trust=trust or ()) as server:
        console.print(
            f"REST  {server.rest_address}/predictions/{name}\n"
            f"gRPC  {server.grpc_address}\n"
            f"keys  {server.key_file}",
            soft_wrap=True,
        )
        while signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, RENEWAL_S) is None:
            renew(server)


def _weights(given: list[str]) -> dict[str, float]:
    """Weight by version, of options as in 1=0.95 or 1."""
    weights: dict[str, float] = {}
    for each in given:
        version, equals, said = each.partition("=")
        try:
            weight = float(said) if equals else 1.0
        except ValueError:
            weight = -1.0
        if not version or version in weights or not 0 <= weight < float("inf"):
            raise typer.BadParameter(
                f"--version {each}: should be VERSION or VERSION=WEIGHT, a weight of 0 or more, "
                "and each version once"
            )
        weights[version] = weight
    if not sum(weights.values()):
        raise typer.BadParameter("--version: at least one weight should be above 0")
    return weights
