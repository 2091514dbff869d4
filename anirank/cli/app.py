"""The command line: parses, hands over, and turns errors into one line and an exit code."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from anirank.cli import serve

if TYPE_CHECKING:
    from anime.ranking.v1.ranking_pb2 import RankRequest, RecommendRequest

    from training.comparison.table import Comparison
    from training.run import PersonalRun, SeedRun

# What is heavy is imported where it is used: what serves starts without torch, and what trains
# without grpc.

BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Train a Wide & Deep ranking of anime, export it once, serve it everywhere.",
    add_completion=False,
    rich_markup_mode=None,
)
console = Console(highlight=False)

TlsCa = Annotated[
    Path | None, typer.Option(help="PEM of the authorities that vouch for the façade: TLS.")
]
TlsCert = Annotated[
    Path | None, typer.Option(help="PEM of a certificate to show a façade that asks.")
]
TlsKey = Annotated[Path | None, typer.Option(help="PEM of its private key.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File of the bearer token to show. [default: what ANIRANK_TOKEN holds]"),
]


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write.", show_default=False)],
    users: Annotated[int, typer.Option(help="Rows of users-details-2023.csv.")] = 2_000,
    anime: Annotated[int, typer.Option(help="Rows of anime-dataset-2023.csv.")] = 1_000,
    ratings: Annotated[int, typer.Option(help="Rows of users-score-2023.csv.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
) -> None:
    """Write a synthetic dataset in the schema of the Kaggle files, quirks and all."""
    from training.synthesis.dataset import synthesise

    synthesise(folder, users=users, anime=anime, ratings=ratings, seed=seed)
    console.print(f"{folder}: {users:,} users, {anime:,} anime, {ratings:,} ratings")


@app.command()
def prepare(
    data_dir: Annotated[Path, typer.Argument(help="Folder of the three CSV files.")],
    out_dir: Annotated[Path, typer.Argument(help="Where to write typed Parquet tables.")],
) -> None:
    """Read the CSV files into typed tables, and report every row refused."""
    from training.tables.preparation import prepare

    tables = prepare(data_dir)
    tables.save(out_dir)
    console.print(tables.refusals)
    console.print(
        f"{out_dir}: {len(tables.users):,} users, {len(tables.anime):,} anime, "
        f"{len(tables.ratings):,} ratings"
    )


@app.command()
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
    epochs: Annotated[int | None, typer.Option(help="[default: 24; seed: 10]")] = None,
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
    seed: Annotated[int | None, typer.Option(help="Fixes split, weights and order.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run.")] = False,
) -> None:
    """Train a model; Ctrl-C leaves a run that can be used and continued."""
    from anirank.errors import RunError
    from training.loop.device import choose
    from training.loop.progress import Progress
    from training.personal.refit import begin_refit
    from training.personal.trainer import PersonalTrainer
    from training.presets import PersonalPreset, resolve
    from training.run import PersonalRun, SeedRun, open_personal_run, open_run
    from training.seed.trainer import SeedTrainer
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
    chosen_device = choose(device)
    settings = resolve(preset or "personal", **given)
    begun = open_run(run_dir) if resume else None
    chosen = open_personal_run(refit) if refit else None
    tables = load_or_prepare(data)
    if not resume:
        console.print(tables.refusals)
    run: SeedRun | PersonalRun
    if begun is not None:
        run = begun
    elif chosen is not None:
        run = begin_refit(chosen, run_dir, tables)
    else:
        kind = PersonalRun if isinstance(settings, PersonalPreset) else SeedRun
        run = kind.create(run_dir, settings, tables)
    if isinstance(run, PersonalRun):
        with console.status("fitting the crosses"):
            trainer: PersonalTrainer | SeedTrainer = PersonalTrainer(run, tables, chosen_device)
    else:
        trainer = SeedTrainer(run, tables, chosen_device)
    if resume:
        trainer.resume()
    with Progress(console, run.preset.optimisation.epochs) as progress:
        finished = trainer.fit(progress)
    if not finished:
        console.print(f"stopped; `anirank train {data} {run_dir} --resume` goes on from here")
        raise typer.Exit(INTERRUPTED)
    _show_figures(run)


def _show_figures(run: "SeedRun | PersonalRun") -> None:
    from training.run import SeedRun
    from training.seed.evaluation import evaluate

    if isinstance(run, SeedRun):
        console.print(evaluate(run))
    elif run.preset.split_by == "none":
        console.print("trained on all ratings; the figures are those of the run it came from")
    else:
        console.print(_compared(run))


def _compared(run: "PersonalRun", ratings: Path | None = None) -> "Comparison":
    from training.comparison.table import compare

    with console.status("comparing") as status:
        return compare(run, ratings, lambda model: status.update(f"comparing: {model}"))


@app.command()
def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="A run.")],
    ratings: Annotated[
        Path | None,
        typer.Option(help="CSV with user_id, anime_id, rating instead of the run's test rows."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
) -> None:
    """Measure a run on ratings it was not trained on."""
    from training.run import PersonalRun, open_run, write_text
    from training.seed.evaluation import evaluate

    run = open_run(run_dir)
    found = _compared(run, ratings) if isinstance(run, PersonalRun) else evaluate(run, ratings)
    console.print(found)
    if json is not None:
        write_text(json, found.to_json())


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A run of the personal preset.")],
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write. [default: report.html in the run]")
    ] = None,
) -> None:
    """Write one HTML file: the comparison, plots, and what a few users would be told."""
    from training.comparison.report import report

    with console.status("reporting"):
        file = report(run_dir, output)
    console.print(f"{file}", soft_wrap=True)


@app.command()
def export(
    run_dir: Annotated[Path, typer.Argument(help="A run.")],
    store: serve.Store = serve.DEFAULT.store,
    name: serve.Name = serve.DEFAULT.name,
    version: Annotated[str, typer.Option(help="A new version; versions never change.")] = "1",
) -> None:
    """Make TorchScript, ONNX, bundle and .mar from a run, if they agree to the last digit."""
    from export.bundle import export
    from training.run import open_run

    made = export(open_run(run_dir), store, name, version)
    console.print(made)


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a .mar.", show_default=False)],
    key: Annotated[Path, typer.Option(help="PEM of a private key of the curve P-256.")],
) -> None:
    """Sign a bundle, so that who trusts the key can tell that it is yours and whole."""
    from bundles.signature import sign_bundle

    console.print(f"{sign_bundle(bundle, key)}", soft_wrap=True)


app.command()(serve.serve)
app.command()(serve.torchserve)


@app.command()
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
    top: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show reasons in place of the genres.")
    ] = False,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a façade to ask.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Or a bundle to rank with here.")] = None,
    trust: serve.Trust = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Rank anime for a user, and show the best as a table."""
    if (address is None) == (bundle is None):
        raise typer.BadParameter("give either --address or --bundle")
    from anirank.cli.listing import listing
    from anirank.client.sync import Client
    from anirank.client.tokens import client_token
    from handlers.local import LocalRanker

    request = _request(user, candidates, history, top, explain)
    if bundle is not None:
        reply = LocalRanker(bundle, trust or ()).answer(request)
    else:
        token = client_token(token_file)
        with Client(
            str(address), ca=tls_ca, certificate=tls_cert, key=tls_key, token=token
        ) as client:
            reply = client.answer(request)
    console.print(listing(reply, f"For user {user}" if user else "For a visitor", explain))


@app.command()
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
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    token_file: TokenFile = None,
) -> None:
    """Measure the latency of a façade under load, from the time each request was due."""
    if rate is not None and (in_flight is not None or rate <= 0):
        raise typer.BadParameter("give either --rate, above 0, or --in-flight")
    from anirank.client.tokens import client_token
    from benchmarks.load import bench
    from benchmarks.load.loops import Plan
    from benchmarks.load.transports import Tls
    from benchmarks.load.workload import Lines, Workload, WorkloadError

    closed = (in_flight or 1) if rate is None else None
    try:
        asked = Workload(Lines.read(candidates), Lines.read(history), top, zipf, seed)
    except WorkloadError as error:
        raise typer.BadParameter(str(error)) from None
    plan = Plan(seconds, rate, closed, warm_up, seed)
    tls = Tls(tls_ca, tls_cert, tls_key)
    with console.status(f"asking for {warm_up + seconds:g} s"):
        measured = bench.measure(address, asked, plan, tls, client_token(token_file))
    console.print(measured.table(), *measured.remarks(), sep="\n")
    if json is not None:
        json.write_text(measured.to_json(), encoding="utf-8")
    if plot is not None:
        bench.plot(measured, plot)


def _request(
    user: int | None, candidates: str | None, history: str | None, top: int, explain: bool
) -> "RankRequest | RecommendRequest":
    from anime.ranking.v1.ranking_pb2 import HistoryItem, RankRequest, RecommendRequest

    try:
        pairs = [each.partition(":") for each in history.split(",")] if history else []
        watched = [
            HistoryItem(anime_id=int(anime), rating=float(rating) if colon else None)
            for anime, colon, rating in pairs
        ]
        if candidates is None:
            return RecommendRequest(user_id=user, history=watched, top_k=top, explain=explain)
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


def main() -> None:
    """Run the command line; one line on standard error and exit code 2 on bad input."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.TyperException as error:
        code = _complain(error.format_message())
    except typer.Abort:
        code = INTERRUPTED
    except Exception as error:
        # Each folder has a tree of errors whose messages are fit to be shown; the trees are
        # known by name, so that serving starts without the training code and the reverse.
        if not any(cls.__name__ in ("AnirankError", "ServingError") for cls in type(error).__mro__):
            raise
        code = _complain(str(error))
    sys.exit(code)


def _complain(message: str) -> int:
    print(f"anirank: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    main()
