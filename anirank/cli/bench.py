"""`anirank bench`: the latency of a façade under load."""

from pathlib import Path
from typing import Annotated

import typer

from anirank.cli.caller import Caller
from anirank.cli.console import console
from anirank.cli.options import spread


@spread
def bench(
    address: Annotated[str, typer.Option(help="HOST:PORT of a façade that runs.")],
    rate: Annotated[
        float | None, typer.Option(help="Open loop: requests a second, as a Poisson process.")
    ] = None,
    in_flight: Annotated[
        int | None, typer.Option(help="Closed loop: so many at a time. [default: 1]", min=1)
    ] = None,
    seconds: Annotated[float, typer.Option(help="To measure.", min=0.1, max=3600)] = 10.0,
    warm_up: Annotated[float, typer.Option(help="Seconds before, not counted.", min=0)] = 1.0,
    candidates: Annotated[
        str, typer.Option(help="A count, or a file: of a count or of ids on each line.")
    ] = "200",
    history: Annotated[str, typer.Option(help="Watched anime, likewise.")] = "100",
    top: Annotated[int, typer.Option(help="How many to answer; 0 for all.", min=0)] = 10,
    zipf: Annotated[float, typer.Option(help="Skew of the ids; 0 for none.", min=0)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed asks the same.", min=0)] = 0,
    json: Annotated[Path | None, typer.Option(help="Write figures and histogram here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw latency by percentile here.")] = None,
    *,
    caller: Caller,
) -> None:
    """Measure the latency of a façade under load, from the time each request was due."""
    if rate is not None and (in_flight is not None or rate <= 0):
        raise typer.BadParameter("give either --rate, above 0, or --in-flight")
    from anirank.client.tokens import client_token
    from benchmarks.load import bench
    from benchmarks.load.loops import Plan
    from benchmarks.load.transports import Tls
    from benchmarks.load.workload import Lines, Workload, WorkloadError
    from bundles.files import write_text

    closed = (in_flight or 1) if rate is None else None
    try:
        asked = Workload(Lines.read(candidates), Lines.read(history), top, zipf, seed)
    except WorkloadError as error:
        raise typer.BadParameter(str(error)) from None
    plan = Plan(seconds, rate, closed, warm_up, seed)
    tls = Tls(caller.tls_ca, caller.tls_cert, caller.tls_key)
    with console.status(f"asking for {warm_up + seconds:g} s"):
        measured = bench.measure(address, asked, plan, tls, client_token(caller.token_file))
    console.print(measured.table(), *measured.remarks(), sep="\n")
    if json is not None:
        write_text(json, measured.to_json())
    if plot is not None:
        bench.plot(measured, plot)
