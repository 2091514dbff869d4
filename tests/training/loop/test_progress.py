import io
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from training.loop.progress import Progress, Stages

PLAIN = {"TERM": "xterm"}


def shown(file: io.StringIO, terminal: bool, quiet: bool = False) -> Console:
    return Console(file=file, force_terminal=terminal, quiet=quiet, width=80, _environ=PLAIN)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_a_terminal_a_stage_is_a_line_as_it_begins_and_its_time_as_it_ends() -> None:
    file = io.StringIO()
    with Stages(shown(file, terminal=False)) as stages:
        stages.begin("reading [/x]")
        until(lambda: file.getvalue() == "reading [/x] ...\n")
        stages.begin("comparing", steps=3)
        stages.step()
    times = re.sub(r"\d+\.\d s", "T", file.getvalue())
    assert times == "reading [/x] ...\nreading [/x]: T\ncomparing: T\n"


def test_a_stage_that_takes_long_says_every_so_often_how_far_it_is() -> None:
    file = io.StringIO()
    with Stages(shown(file, terminal=False), every_s=0.02) as stages:
        stages.begin("comparing", steps=20)
        stages.step(7)
        until(lambda: file.getvalue().count("so far") >= 2)
    said = file.getvalue().splitlines()
    assert re.fullmatch(r"comparing: 7 of 20, \d\.\d s so far", said[2])
    time.sleep(0.1)
    assert file.getvalue().splitlines() == said  # what has ended does not go on


def test_what_fails_is_not_said_to_have_ended() -> None:
    file = io.StringIO()
    with suppress(OSError), Stages(shown(file, terminal=False)) as stages:
        stages.begin("reading")
        Path("/no such file").read_bytes()
    assert file.getvalue() == ""


def test_a_terminal_shows_the_stage_live_and_keeps_no_line_of_it() -> None:
    file = io.StringIO()
    with Stages(shown(file, terminal=True)) as stages:
        stages.begin("reading")
        stages.begin("comparing", steps=3)
        stages.step(2)
        until(lambda: "2 of 3" in file.getvalue())
    assert "comparing" in file.getvalue()
    assert "\n" not in file.getvalue()
    kept = file.getvalue().rpartition("\x1b[2K")[2]  # which wipes the line
    assert not re.search("[a-z]", re.sub(r"\x1b\[[?\d]*[a-z]", "", kept))


def test_epochs_are_a_line_each_between_other_stages() -> None:
    file = io.StringIO()
    with Progress(shown(file, terminal=False), 2) as progress:
        progress.begin("preparing")
        for epoch in (1, 2):
            progress.start_epoch(epoch, 10, 0)
            progress.advance(10, 0.5)
            _, speed = progress.finish_epoch()
            line = {"epoch": epoch, "train_loss": 0.5, "train_rmse": 0.7, "samples_per_s": speed}
            progress.report(line)
    said = [line.split(" ")[0] for line in file.getvalue().splitlines()]
    assert said == ["preparing:", "epoch", "epoch"]


def test_a_stage_says_how_long_it_still_takes_but_not_of_seconds() -> None:
    file = io.StringIO()
    with Stages(shown(file, terminal=False), every_s=0.02) as stages:
        stages.begin("comparing", steps=1_000)
        time.sleep(0.02)
        stages.step()
        until(lambda: file.getvalue().count("so far") >= 1)
        stages.step(998)
        until(lambda: "999 of" in file.getvalue())
    said = file.getvalue()
    assert re.search(r"comparing: 1 of 1,000, \d\d s left, \d\.\d s so far\n", said)
    assert re.search(r"comparing: 999 of 1,000, \d\.\d s so far\n", said)


def test_an_epoch_says_how_long_the_training_still_takes() -> None:
    file = io.StringIO()
    with Progress(shown(file, terminal=False), 3) as progress:
        for epoch in (1, 3):
            progress.start_epoch(epoch, 500, 0)
            line = {"epoch": epoch, "train_loss": 0.5, "train_rmse": 0.7, "samples_per_s": 5.0}
            progress.report(line)
    first, last = file.getvalue().splitlines()
    assert first.endswith("5 samples/s, 3 min left")
    assert last.endswith("5 samples/s")


@pytest.mark.parametrize("terminal", [True, False])
def test_nobody_is_told_by_a_quiet_console_or_before_it_is_entered(terminal: bool) -> None:
    file = io.StringIO()
    Stages(shown(file, terminal)).begin("reading")
    with Stages(shown(file, terminal, quiet=True)) as stages:
        stages.begin("reading")
        stages.step()
    assert file.getvalue() == ""
