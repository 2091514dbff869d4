"""What commands say in an installation without the extra that they need."""

import importlib
import importlib.util
import json
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from anirank.errors import MODULES, naming_the_extra
from tests.running.installation import Installed
from training.seed.run import SeedRun

SIGN = ("sign", "bundle", "--key", "private.pem")
SERVE = ("serve", "--name", "toy", "--address", "127.0.0.1:0", "--store")


def assert_names(extra: str, installed: Installed, extras: tuple[str, ...], *command) -> None:
    done = installed(*extras).anirank(*command)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # of the log
    assert line.startswith("anirank: ")
    assert line.endswith(f" is not installed: pip install 'anirank[{extra}]'")
    assert "Traceback" not in done.stderr
    assert not list(installed(*extras).elsewhere.iterdir())


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("train", ("synth", "data")),
        ("train", ("prepare", "data", "tables")),
        ("train", ("train", "data", "run")),
        ("train", ("evaluate", "run")),
        ("train", ("report", "run")),
        ("train", ("export", "run")),
        ("bench", ("bench", "--address", "127.0.0.1:1")),
        ("histories", ("histories", "export", "out.parquet", "--histories", "histories")),
        ("lists", ("lists", "bundle", "out")),
        ("lists", ("lists", "bundle", "out", "--local")),
        ("mal", ("rank", "--mal-export", __file__, "--bundle", "bundle")),
        ("signing", SIGN),
        ("torchserve", ("torchserve",)),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    installed: Installed, extra: str, command: tuple[str, ...]
) -> None:
    assert_names(extra, installed, ("cpu",), *command)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_names_the_extra_that_a_setting_needs(
    installed: Installed, store: Path, workers: str
) -> None:
    serve = (*SERVE, store, "--workers", workers)
    assert_names("tracing", installed, ("cpu",), *serve, "--tracing")
    assert_names("histories", installed, ("cpu",), *serve, "--histories", "histories")
    assert_names("http", installed, ("cpu",), *serve, "--http", "127.0.0.1:0")
    assert_names("cpu", installed, (), *serve)
    with zipfile.ZipFile(store / "toy.mar", "w") as archive:
        model = {"modelName": "toy", "modelVersion": "1"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
    assert_names("torchserve", installed, ("cpu",), *serve, "--backend", "torchserve")


def test_who_loads_a_bundle_is_told_the_extra_as_well(installed: Installed, toy_dir: Path) -> None:
    program = "import sys, anirank; anirank.load(*sys.argv[1:])"
    done = installed().python("-c", program, toy_dir)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("anirank.errors.ExtraMissing: onnxruntime")
    assert "anirank[cpu]" in last


def test_with_cpu_and_train_there_is_a_way_to_a_bundle_and_its_archive(
    installed: Installed, run: SeedRun, tmp_path: Path
) -> None:
    done = installed("cpu", "train").anirank("export", run.folder, "--store", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"anime", "anime.mar"}


def test_lists_are_made_in_one_process_without_ray(
    installed: Installed, toy_dir: Path, tmp_path: Path
) -> None:
    environment = installed("cpu", "train")
    looked = environment.python("-c", "import ray")
    assert "No module named 'ray'" in looked.stderr
    done = environment.anirank("lists", toy_dir, tmp_path / "lists", "--local")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lists" / "_SUCCESS").is_file()


@pytest.mark.parametrize("module", ["handlers.absent", "absent", "numpy.absent", "torch.absent"])
def test_a_module_that_no_extra_brings_is_a_fault_that_shows(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="absent"), naming_the_extra():
        importlib.import_module(module)


def test_every_package_of_an_extra_is_known_by_the_module_it_brings() -> None:
    tops = packages_distributions()
    for requirement in map(Requirement, requires("anirank") or ()):
        name, marker = requirement.name, requirement.marker
        if marker and not marker.evaluate({"extra": "dev"}) and name != "onnxruntime-gpu":
            module = MODULES.get(name, name.replace("-", "_"))
            assert importlib.util.find_spec(module) is not None, module
            of = {canonicalize_name(each) for each in tops[module.partition(".")[0]]}
            assert name in of, module
