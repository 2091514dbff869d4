"""Several processes train one model, started by torchrun."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.nn import functional as F

from anirank.cli.train import opening
from anirank.errors import RunError
from tests.running.waiting import PATIENCE_S
from training.interactions.hidden import Hidden
from training.interactions.interactions import Interactions
from training.loop.dropout import Rows, SharedDropout
from training.loop.ranks import Ranks
from training.personal.model import PersonalModel
from training.personal.run import PersonalRun
from training.synthesis.dataset import synthesise
from training.tables.tables import Tables

# What sums in another order come to after the toy's three epochs, as they do with another number
# of threads: Adam moves a weight of hardly any gradient as far as any other.
LOSS, RATING = 3e-4, 0.01  # relative; points of a rating
CROSS = 1e-5


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 5, 128])
def test_the_shares_of_all_ranks_are_all_rows_in_order(count: int, rows: int) -> None:
    shares = [np.arange(rows)[Ranks(rank, count).share(rows)] for rank in range(count)]
    assert np.concatenate(shares).tolist() == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_row_loses_the_same_units_whatever_rank_it_is_on() -> None:
    values = torch.rand(7, 50) + 1
    torch.manual_seed(0)
    whole = F.dropout(values, 0.3)
    after = torch.rand(1)
    parts = []
    for rank in range(3):
        torch.manual_seed(0)
        here = Ranks(rank, 3).share(7)
        dropout = SharedDropout(0.3)
        dropout.rows = Rows(here, 7)
        parts.append(dropout(values[here]))
        assert torch.rand(1) == after  # what is drawn next is the same as well
    torch.testing.assert_close(torch.cat(parts), whole)


def test_ranks_hide_of_their_users_what_one_process_hides_of_them() -> None:
    lengths = np.array([4, 0, 30, 9, 12])
    hidden = Hidden.drawn(lengths, np.random.default_rng(0))
    assert hidden.targets.sum() == (~hidden.shown).sum()
    shares = [Ranks(rank, 3).share(len(lengths)) for rank in range(3)]
    assert np.concatenate([hidden.shown_of(each) for each in shares]).tolist() == list(hidden.shown)
    for share in shares:
        pairs = hidden.pairs_of(share)
        assert pairs.stop - pairs.start == (~hidden.shown_of(share)).sum()
    assert hidden.pairs_of(shares[-1]).stop == hidden.targets.sum()


@contextmanager
def launched(*arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """Torchrun with these arguments; what it has started ends with it."""
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def two_ranks(*arguments: str | Path) -> tuple[str | Path, ...]:
    return ("--standalone", "--nproc-per-node", "2", "-m", "anirank", "train", *arguments)


def complaints(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("anirank: ")]


@pytest.mark.slow
def test_two_ranks_of_which_one_is_killed_and_resumed_end_as_one_process_does(
    personal: PersonalRun, tables: Tables, synthetic: Path, tmp_path: Path
) -> None:
    run = PersonalRun(tmp_path / "run", personal.settings, personal.fingerprint)
    given = ("--epochs", "3", "--batch-size", "64", "--device", "cpu")
    with launched(*two_ranks(synthetic, run.folder, *given)) as torchrun:
        deadline = time.monotonic() + PATIENCE_S
        while not run.metrics_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        psutil.Process(torchrun.pid).children()[1].kill()
        printed, said = torchrun.communicate(timeout=PATIENCE_S)
    assert torchrun.returncode
    [line] = complaints(said)
    assert line.startswith("anirank: rank 0 of 2: lost the other ranks, --resume goes on"), line
    assert "and the rating" not in printed
    assert 0 < len(run.metrics()) < 3

    with launched(*two_ranks(synthetic, run.folder, "--resume")) as torchrun:
        printed, said = torchrun.communicate(timeout=PATIENCE_S)
    assert torchrun.returncode == 0, said
    assert printed.count("run: test rows") == said.count("epoch   3") == 1  # one rank prints
    ours, alone = (
        [[line["train_loss"], line["validation_loss"]] for line in each.metrics()]
        for each in (run, personal)
    )
    np.testing.assert_allclose(ours, alone, rtol=LOSS)
    models = [PersonalModel.load(each, tables) for each in (run, personal)]
    known = Interactions.of(
        tables.ratings, run.parts(tables).known, models[0].expectation, len(tables.users)
    )
    asked = tables.ratings.at(run.parts(tables).test)
    first, second = (
        model.ratings(known, asked.user_row.astype(np.int64), asked.anime_row) for model in models
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=RATING)
    crosses = [model.ties.crosses.toarray() for model in models]
    # Of two weights that are all but equal the other one may be kept.
    assert (np.abs(crosses[0] - crosses[1]) > CROSS).mean() < 1e-3
    genres = [model.genres for model in models]
    np.testing.assert_allclose(genres[0].liking, genres[1].liking, rtol=0, atol=CROSS)
    assert models[0].mix == models[1].mix


@pytest.mark.slow
def test_an_error_on_one_machine_ends_both_with_one_line(synthetic: Path, tmp_path: Path) -> None:
    synthesise(tmp_path / "others", users=50, anime=60, ratings=900, seed=4)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port))
    said, elsewhere = [], tmp_path / "elsewhere"
    with ExitStack() as stack:
        torchruns = [
            stack.enter_context(
                launched(*machines, "--node-rank", str(rank), "-m", "anirank", "train", data, run)
            )
            for rank, data, run in (
                (0, synthetic, tmp_path / "run"),
                (1, tmp_path / "others", elsewhere),
            )
        ]
        for torchrun in torchruns:
            said += complaints(torchrun.communicate(timeout=PATIENCE_S)[1])
            assert torchrun.returncode
    [line] = said
    assert line.startswith("anirank: rank 1 of 2: ")
    assert "was begun on other data" in line
    assert not elsewhere.exists()  # the first rank alone writes


def test_a_preset_that_cannot_be_shared_says_so_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the preset seed is trained by one process"):
        opening(tmp_path / "run", False, None, "seed", {}, Ranks(0, 2))
