"""`anirank synth` and `anirank prepare`: invented data, and typed tables."""

from pathlib import Path
from typing import Annotated

import typer

from anirank.cli.console import console


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


def prepare(
    data_dir: Annotated[Path, typer.Argument(help="Folder of the CSV files.")],
    out_dir: Annotated[Path, typer.Argument(help="Where to write typed Parquet tables.")],
    longest_row: Annotated[
        int, typer.Option(min=1, help="Bytes that a row may have; a quote never closed has more.")
    ] = 1 << 20,
) -> None:
    """Read the CSV files into typed tables, and report every row refused."""
    from training.tables.orphans import Orphans
    from training.tables.preparation import prepare

    tables = prepare(data_dir, longest_row)
    tables.save(out_dir)
    console.print(tables.refusals)
    console.print(str(Orphans.of(tables)))
    console.print(
        f"{out_dir}: {len(tables.users):,} users, {len(tables.anime):,} anime, "
        f"{len(tables.ratings):,} ratings"
    )
