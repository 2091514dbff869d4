"""The .mar: a bundle with the handler that serves it, for a TorchServe that knows nothing of us."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from anirank.errors import ExportError
from bundles.bundle import AFFINITY, ONNX
from handlers import folders

# What an export that was killed has left of these, the next one removes.
SCRATCH = ".export-"
HANDLER = "torchserve/ranking_handler.py"
LEFT_OUT = (ONNX, AFFINITY, "light")  # TorchServe runs ranker.ts
# What the archive's handler needs of this repository; what stands before TorchServe is not in it.
SURFACE = ("__init__.py", "errors.py")  # of anirank
BEFORE = ("facade", "security", "local.py")  # of handlers
# One worker batches what is in flight; the façade sends whole batches, so TorchServe waits for
# none itself beyond a millisecond.
MODEL_CONFIG = {
    "minWorkers": 1,
    "maxWorkers": 1,
    "batchSize": 32,
    "maxBatchDelay": 1,
    "responseTimeout": 60,
    "ranking": {"max_candidates": 25_000, "max_history": 2_000, "threads": 1},
}


def pack(bundle: Path, store: Path, name: str, version: str) -> Path:
    """Make `store`/NAME.mar from a bundle, replacing the one of an earlier version.

    Raises ExportError with the archiver's last words where it fails.
    """
    with folders.scratch(SCRATCH, store) as scratch:
        stage = scratch / "stage"
        shutil.copytree(bundle, stage / "bundle", ignore=shutil.ignore_patterns(*LEFT_OUT))
        _copy_code(stage)
        config = scratch / "model-config.yaml"
        config.write_text(yaml.safe_dump(MODEL_CONFIG, sort_keys=False), "utf-8")
        # The archiver works in TMPDIR/NAME: a folder of its own keeps two exports apart.
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--force"]
        command += ["--model-name", name, "--version", version]
        command += ["--handler", str(_package("handlers") / HANDLER), "--extra-files", "stage"]
        command += ["--config-file", config.name, "--export-path", "."]
        done = subprocess.run(
            command,
            cwd=scratch,
            env=os.environ | {"TMPDIR": str(scratch)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"torch-model-archiver: {last}")
        archive = store / f"{name}.mar"
        (scratch / archive.name).replace(archive)
    return archive


def _copy_code(folder: Path) -> None:
    (folder / "anirank").mkdir()
    for name in SURFACE:
        shutil.copyfile(_package("anirank") / name, folder / "anirank" / name)
    for package, left_out in (("bundles", ()), ("handlers", BEFORE)):
        ignored = shutil.ignore_patterns("__pycache__", *left_out)
        shutil.copytree(_package(package), folder / package, ignore=ignored)


def _package(name: str) -> Path:
    # The serving code is packed as files, whatever of it is imported here.
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
