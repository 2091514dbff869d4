"""`anirank train`, `update`, `evaluate` and `report`: runs, whatever their preset."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anirank.cli.console import INTERRUPTED, console, stderr
from anirank.errors import RunError

if TYPE_CHECKING:
    from training.loop.ranks import Ranks
    from training.run import Run
    from training.tables.tables import Tables


def train(
    data: Annotated[Path, typer.Argument(help="Folder of the CSV files, or a prepared one.")],
    run_dir: Annotated[Path, typer.Argument(help="New folder for the run.")],
    preset: Annotated[
        str | None, typer.Option(help="Recipe: personal or seed. [default: personal]")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Score, the anime's mean (seed only), or rating, the user's own."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="personal: of 200 batches at most. [default: 24; seed: 10]"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Users; seed: ratings. [default: 128; 256]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="[default: 0.003; seed: 0.001]")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="Learning rate: constant or cosine. [default: cosine; seed: constant]"),
    ] = None,
    sample: Annotated[
        float | None, typer.Option(help="seed only: share of the ratings to use. [default: 0.5]")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="personal only: hold out ratings, users or anime. [default: ratings]"),
    ] = None,
    dump_aggregates: Annotated[
        bool | None,
        typer.Option(
            "--dump-aggregates",
            help="personal only: also learn from the dump's own counts and means. They hold the "
            "held-out ratings: the figures of such a run flatter.",
        ),
    ] = None,
    refit: Annotated[
        Path | None,
        typer.Option(
            help="personal only: a run that has ended; train what it chose on all ratings, nothing "
            "held out. Export that one."
        ),
    ] = None,
    histories: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `anirank histories export` wrote: more ratings, and users to leave out.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes split, weights and order.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run.")] = False,
) -> None:
    """Train a model; Ctrl-C leaves a run that can be used and continued.

    Under torchrun, several processes train one model of the preset personal together.
    """
    from training.loop.device import choose
    from training.loop.lock import locked
    from training.loop.progress import Stages
    from training.loop.ranks import joined
    from training.presets import preset_of
    from training.tables.histories import with_histories
    from training.tables.orphans import Orphans
    from training.tables.preparation import load_or_prepare

    given = {
        "label": label,
        "seed": seed,
        "sample": sample,
        "split_by": split,
        "dump_aggregates": dump_aggregates,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
    }
    if (resume or refit) and any(value is not None for value in (preset, *given.values())):
        raise RunError("--resume and --refit take a run's own settings; leave out the others")
    if resume and refit:
        raise RunError("--refit begins a run; --resume alone continues it")
    with told_where_full(run_dir), ExitStack() as kept:
        with joined() as ranks:
            if ranks.first:
                kept.enter_context(locked(run_dir))
            else:
                console.quiet = stderr.quiet = True
            chosen_device = choose(device, ranks)
            opened = opening(run_dir, resume, refit, preset, given, ranks)
            with Stages(stderr) as stages:
                stages.begin("reading the data")
                tables, recorded = load_or_prepare(data), None
                if histories is not None:
                    recorded = with_histories(tables, histories)
                    tables = recorded.tables
            if not resume:
                console.print(tables.refusals)
                console.print(str(Orphans.of(tables)))
            if recorded is not None and not resume:
                console.print(str(recorded))
            run = opened(tables)
            its_preset = preset_of(run)
            if not its_preset.train(run, tables, chosen_device, stderr, resume, ranks):
                with_them = "" if histories is None else f" --histories {histories}"
                again = f"`anirank train {data} {run_dir} --resume{with_them}`"
                console.print(f"stopped; {again} goes on from here")
                raise typer.Exit(INTERRUPTED)
        if ranks.first:
            with Stages(stderr) as stages:
                figures = its_preset.conclude(run, stages)
            console.print(figures)


@contextmanager
def told_where_full(folder: Path) -> Iterator[None]:
    """Tell in one line that there is no room for what is written, which is no fault of code."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None


def opening(
    run_dir: Path,
    resume: bool,
    refit: Path | None,
    preset: str | None,
    given: dict[str, Any],
    ranks: "Ranks",
) -> "Callable[[Tables], Run[Any]]":
    """How the run begins, told before anything is read that takes long."""
    from training.presets import DEFAULT, named, open_run, preset_of
    from training.run import refuse_to_overwrite

    source = run_dir if resume else refit
    made = ranks.from_first(lambda: open_run(source)) if source else None
    of = preset_of(made) if made else named(preset or DEFAULT)
    if ranks.count > 1 and not of.shared:
        raise RunError(f"a run of the preset {of.defaults.name} is trained by one process alone")
    if not resume:
        ranks.from_first(lambda: refuse_to_overwrite(run_dir))
    if made and resume:
        return lambda tables: made
    if made:
        return lambda tables: ranks.from_first(lambda: of.refit(made, run_dir, tables))
    settings = of.defaults.resolved(**given)
    return lambda tables: ranks.from_first(lambda: of.begin(run_dir, settings, tables))


def update(
    run_dir: Annotated[Path, typer.Argument(help="A run of the personal preset that has ended.")],
    ratings: Annotated[Path, typer.Argument(help="CSV with user_id, anime_id, rating.")],
    out_dir: Annotated[Path, typer.Argument(help="New folder for the run that is made.")],
    anime: Annotated[
        Path | None,
        typer.Option(
            help="A catalogue like anime-dataset-2023.csv, whose anime that the run does not know "
            "are taken in. Without it, ratings of such are refused and counted."
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            help="Details like users-details-2023.csv, for users whom the run does not know. "
            "Without it, they are taken in as well."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
) -> None:
    """Make a new run of an old one and new ratings, in a fraction of the time.

    The old run stays as it is. A new rating of a pair that it has replaces the old one. What it
    held out stays held out, so that `anirank evaluate` tells what came of it; a run of --refit
    takes in everything.
    """
    from training.loop.device import choose
    from training.loop.lock import locked
    from training.loop.progress import Stages
    from training.presets import open_run, preset_of
    from training.run import refuse_to_overwrite
    from training.tables.growth import grown

    run, chosen_device = open_run(run_dir), choose(device)
    its_preset = preset_of(run)
    with locked(out_dir), told_where_full(out_dir):
        refuse_to_overwrite(out_dir)
        with Stages(stderr) as stages:
            stages.begin("reading the run and what is new")
            growth = grown(run.tables(), ratings, anime, users)
        console.print(growth.refusals)
        console.print(str(growth))
        made = its_preset.update(run, out_dir, growth)
        if not its_preset.train(made, growth.tables, chosen_device, stderr):
            data = made.tables_folder
            console.print(f"stopped; `anirank train {data} {out_dir} --resume` goes on from here")
            raise typer.Exit(INTERRUPTED)
        console.print(f"{out_dir}: updated from {run_dir}")


def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="A run.")],
    ratings: Annotated[
        Path | None,
        typer.Option(help="CSV with user_id, anime_id, rating instead of the run's test rows."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Measure a run on ratings it was not trained on."""
    from bundles.files import write_text
    from training.loop.progress import Stages
    from training.presets import open_run, preset_of

    run = open_run(run_dir)
    with told_where_full(run_dir), Stages(stderr) as stages:
        figures = preset_of(run).evaluate(run, ratings, stages)
    console.print(figures)
    if json is not None:
        write_text(json, figures.to_json())


def report(
    run_dir: Annotated[Path, typer.Argument(help="A run of the personal preset.")],
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write. [default: report.html in the run]")
    ] = None,
) -> None:
    """Write one HTML file: the comparison, plots, and what a few users would be told."""
    from training.loop.progress import Stages
    from training.presets import open_run, preset_of

    run = open_run(run_dir)
    with told_where_full(run_dir), Stages(stderr) as stages:
        file = preset_of(run).report(run, output, stages)
    console.print(f"{file}", soft_wrap=True)
