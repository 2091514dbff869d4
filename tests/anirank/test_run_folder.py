"""The folder of a run, when something goes wrong before its training has ended."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anirank.cli.app import main
from training.loop.lock import locked
from training.seed.run import SeedRun


def program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[int, str]:
    """The command line in this process: exit code and standard error."""
    monkeypatch.setattr(sys, "argv", ["anirank", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


@contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """As on a full disk, no file can be larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_training_that_meets_a_full_disk_in_its_first_epoch_is_resumed(
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir = tmp_path / "run"
    train = ("train", synthetic, run_dir, "--device", "cpu")
    seed = ("--preset", "seed", "--epochs", "1", "--batch-size", "512")
    with room_for_files_of(100_000):  # tables fit, weights do not
        code, err = program(capsys, monkeypatch, *train, *seed)
    assert code == 2
    assert "weights.safetensors: cannot be written" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(run_dir.glob(".*"))  # half a file would fill the disk on

    code, err = program(capsys, monkeypatch, *train, *seed)
    assert code == 2
    assert "holds a run; continue it with --resume" in err.splitlines()[-1]

    code, _ = program(capsys, monkeypatch, *train, "--resume")
    assert code == 0
    assert (run_dir / "weights.safetensors").exists()


def test_no_room_for_what_is_measured_is_one_line(
    run: SeedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with room_for_files_of(100):
        code, err = program(capsys, monkeypatch, "evaluate", run.folder)
    assert code == 2
    assert err.splitlines()[-1] == f"anirank: {run.folder}: cannot be written: File too large"
    assert "Traceback" not in err


def test_no_room_for_tables_is_one_line_and_leaves_nothing(
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with room_for_files_of(1_000):
        code, err = program(capsys, monkeypatch, "prepare", synthetic, tmp_path / "tables")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "cannot be written" in err
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_one_training_at_a_time(
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dir = tmp_path / "nested" / "run"
    with locked(run_dir):
        for more in ((), ("--resume",)):
            code, err = program(capsys, monkeypatch, "train", synthetic, run_dir, *more)
            assert (code, len(err.splitlines())) == (2, 1)
            assert f"{run_dir}: another training is writing here" in err
        assert run_dir.is_dir()
    assert not list(tmp_path.iterdir())  # as nothing was written
    with locked(run_dir):  # what ended holds nobody up
        (run_dir / "kept").touch()
    assert (run_dir / "kept").exists()


def test_a_folder_that_holds_no_run_is_told_from_one_that_does(
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "thesis.txt").touch()
    code, err = program(capsys, monkeypatch, "train", synthetic, tmp_path)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds no run to continue; name a new folder" in err
    code, err = program(capsys, monkeypatch, "train", synthetic, tmp_path / "thesis.txt")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "thesis.txt: no folder to write to" in err


def test_an_export_that_meets_a_full_disk_is_one_line_and_leaves_nothing(
    run: SeedRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    with room_for_files_of(20_000):
        code, err = program(capsys, monkeypatch, "export", run.folder, "--store", store)
    assert code == 2
    assert f"{store}: cannot be written: File too large" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_store_takes_one_export_at_a_time_and_what_a_killed_one_left_is_removed(
    run: SeedRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    export = ("export", run.folder, "--store", store)
    with locked(store, "export"):
        code, err = program(capsys, monkeypatch, *export)
    assert code == 2
    assert f"{store}: another export is writing here" in err.splitlines()[-1]
    killed = (
        "import os, signal, sys; from pathlib import Path; from export.archive import SCRATCH\n"
        "from handlers import folders; folder, _ = folders.make(SCRATCH, Path(sys.argv[1]))\n"
        "(folder / 'ranker.onnx').write_bytes(bytes(9)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (store / "anime").mkdir(parents=True)
    subprocess.run([sys.executable, "-c", killed, store / "anime"])
    assert list(store.rglob(".export-*"))
    with room_for_files_of(20_000):  # for it goes no further
        program(capsys, monkeypatch, *export)
    assert not list(store.rglob(".export-*"))
