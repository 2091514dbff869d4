"""`anirank lists`: lists for many users in bulk, as Parquet files."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anirank.cli import serve
from anirank.cli.console import console, stderr
from anirank.errors import naming_the_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handlers.lists.job import Job

NAMED = 10  # unknown users that are named; of more, how many there are


def lists(
    bundle: Annotated[Path, typer.Argument(help="A bundle.", show_default=False)],
    out: Annotated[
        Path,
        typer.Argument(help="Folder of the lists; a job that ended goes on there."),
    ],
    users: Annotated[
        Path | None,
        typer.Option(
            help="User ids: text, CSV or Parquet (column user_id). [default: all whom the bundle "
            "knows]"
        ),
    ] = None,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown",
            help="Leave out users whom the bundle does not know. [default: they get the list that "
            "a façade gives them]",
        ),
    ] = False,
    top: Annotated[int, typer.Option(help="Anime of a list.", min=1)] = 100,
    block: Annotated[int, typer.Option(help="Users of a file.", min=1)] = 1_000,
    workers: Annotated[
        int | None, typer.Option(help="Processes, each on a core. [default: all cores]", min=1)
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a cluster of Ray, or auto: the one that runs here. [default: one is "
            "started for this job]"
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="In this process alone, without Ray.")
    ] = False,
    trust: serve.Trust = None,
) -> None:
    """Rank the catalogue for many users, what they have watched left out, into Parquet files."""
    if local and (address is not None or workers is not None):
        raise typer.BadParameter("--local takes neither --address nor --workers")
    from bundles.bundle import Bundle
    from training.loop.progress import Stages

    with naming_the_extra("lists"), Stages(stderr) as stages, ExitStack() as entered:
        if not local:
            from handlers.lists.cluster import Cluster
        from handlers.lists.job import Job, Source
        from handlers.lists.lister import Lister
        from handlers.lists.users import asked_for

        stages.begin("opening the bundle")
        opened = Bundle.open(bundle, trust=trust or ())
        asked = asked_for(opened, users, skip_unknown)
        job = Job(out, Source.of(opened), asked.users, top, block)
        job.begin()
        missing = job.missing()
        made: Iterable[int] = ()
        if missing and local:
            made = Lister(job, opened).make_all(missing)
        elif missing:
            stages.begin("starting Ray")
            made = entered.enter_context(Cluster(address, workers)).make_all(
                job, bundle, trust or ()
            )
        stages.begin("ranking", sum(len(job.users_of(number)) for number in missing))
        for ranked in made:
            stages.step(ranked)
        job.finish()
    console.print(_told(job, len(missing), asked.unknown, skip_unknown), soft_wrap=True)


def _told(job: "Job", made: int, unknown: "NDArray[np.int64]", skipped: bool) -> str:
    there = f", {job.blocks - made} of them there before" if made < job.blocks else ""
    files = f"{job.blocks:,} file{'s' * (job.blocks > 1)}"
    lines = [f"{job.folder}: {len(job.users):,} user{'s' * (len(job.users) > 1)} in {files}{there}"]
    if len(unknown):
        named = ", ".join(map(str, unknown[:NAMED].tolist())) + ", …" * (len(unknown) > NAMED)
        done = "left out" if skipped else "ranked for as visitors"
        lines.append(f"not known to the bundle, {done}: {len(unknown):,} ({named})")
    return "\n".join(lines)
