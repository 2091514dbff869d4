"""What an update of a `personal` run takes and reaches, beside a new run on the same ratings.

    python -m benchmarks.training.update --data ../shared/data/mal

Some users, some anime and some of the other ratings are held back, and a run is trained on the
rest. Then each side takes in all of them: `anirank update` that run, and a new run. Both hold out
the same ratings, by which both are measured. Seconds are from files to trained weights, without
the comparison that `anirank train` ends with; those of a core tell more on a machine that is busy.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.settings import PERSONAL
from training.tables.growth import grown
from training.tables.preparation import ANIME_FILE, USERS_FILE, load_or_prepare
from training.tables.tables import Ratings, Tables

# Shares held back: of the raters, of the catalogue, and of the ratings of others.
NEW_USERS, NEW_ANIME, NEW_RATINGS = 0.05, 0.01, 0.05
DEVICE = torch.device("cpu")

# Of each side: by the clock, and of a core, float64[2].
Seconds = dict[str, np.ndarray]

console = Console(highlight=False, width=100)
preset = PersonalPreset()


def parted(tables: Tables, seed: int, file: Path) -> Tables:
    """The tables without what is held back, and the ratings that are, in a CSV file."""
    rng, ratings = np.random.default_rng(seed), tables.ratings
    raters = np.unique(ratings.user_row)
    users, anime = np.ones(len(tables.users), np.bool_), rng.random(len(tables.anime)) >= NEW_ANIME
    users[raters[rng.random(len(raters)) < NEW_USERS]] = False
    old = users[ratings.user_row] & anime[ratings.anime_row]
    old &= rng.random(len(ratings)) >= NEW_RATINGS
    late = ratings.at(np.flatnonzero(~old))
    ids = {
        "user_id": tables.users["user_id"].to_numpy()[late.user_row],
        "anime_id": tables.anime["anime_id"].to_numpy()[late.anime_row],
        "rating": late.rating,
    }
    pd.DataFrame(ids).to_csv(file, index=False)
    left = ratings.at(np.flatnonzero(old))
    user_rows, anime_rows = (np.cumsum(kept, dtype=np.int32) - 1 for kept in (users, anime))
    moved = Ratings(user_rows[left.user_row], anime_rows[left.anime_row], left.rating)
    return replace(
        tables,
        anime=tables.anime[anime].reset_index(drop=True),
        users=tables.users[users].reset_index(drop=True),
        ratings=moved,
        fingerprint=f"{tables.fingerprint} less {len(late)}",
    )


@contextmanager
def timed(side: str, seconds: Seconds) -> Iterator[None]:
    """Keep what a side takes."""
    began = np.array([time.perf_counter(), time.process_time()])
    yield
    passed = np.array([time.perf_counter(), time.process_time()]) - began
    seconds[side] = passed
    console.print(f"{side}: {passed[0]:.1f} s, {passed[1]:.1f} s of a core")


def train(run: PersonalRun, tables: Tables) -> None:
    """Train to the last epoch."""
    if not preset.train(run, tables, DEVICE, Console(quiet=True)):
        raise KeyboardInterrupt


def measured(run: PersonalRun, tables: Tables) -> Row:
    """What the whole model reaches on the run's test rows."""
    parts, model = run.parts(tables), PersonalModel.load(run, tables)
    held = HeldOut.test_rows(tables, parts)
    evaluator = Evaluator(tables, parts, held, model.expectation)
    lists = Lists(evaluator)
    for each in model.scores(evaluator.history, evaluator.users):
        lists.add(each.users, each.score)
    predicted = model.ratings(evaluator.history, *evaluator.pairs)
    return evaluator.ratings(lists.measured(Row(run.folder.name)), predicted)


def both(data: Path, seed: int, folder: Path) -> tuple[Seconds, dict[str, Row]]:
    """Seconds and figures of the update and of the new run."""
    seconds: Seconds = {}
    late, settings = folder / "late.csv", PERSONAL.resolved(seed=seed)
    base = parted(load_or_prepare(data), seed, late)
    old = preset.begin(folder / "old", settings, base)
    with timed("the run before", seconds):
        train(old, base)
    with timed("update", seconds):
        growth = grown(old.tables(), late, data / ANIME_FILE, data / USERS_FILE)
        update = preset.update(old, folder / "update", growth)
        train(update, growth.tables)
    console.print(f"{growth}")
    with timed("new run", seconds):
        load_or_prepare(data)  # which holds the same ratings in another order
        new = preset.begin(folder / "new", settings, growth.tables)
        update.parts(growth.tables).save(new.split_file, len(growth.tables.ratings))
        train(new, growth.tables)
    runs = {"update": update, "new run": new}
    return seconds, {side: measured(run, growth.tables) for side, run in runs.items()}


def main() -> None:
    """Print both sides and their ratio, a seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    table = Table()
    for column in ("seed", "side", "seconds", "of a core", "ratio", "NDCG@10", "RMSE"):
        table.add_column(column, justify="right")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            seconds, rows = both(options.data, seed, Path(folder))
        whole = rows["new run"].values
        for side, row in rows.items():
            ratio = seconds[side] / seconds["new run"]
            ndcg, rmse = row.values["ndcg"], row.values["rmse"]
            table.add_row(
                *(str(seed), side, *(f"{each:.1f}" for each in seconds[side])),
                " / ".join(f"{each:.3f}" for each in ratio),
                f"{ndcg:.4f} ({ndcg / whole['ndcg'] - 1:+.2%})",
                f"{rmse:.4f} ({rmse - whole['rmse']:+.4f})",
            )
    console.print(table)


if __name__ == "__main__":
    main()
