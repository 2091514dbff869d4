"""One small world for all tests: synthetic data, a run trained on it, its bundle and .mar."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from export.bundle import Exported, export
from training.loop.progress import Progress
from training.personal.run import PersonalRun
from training.personal.settings import PERSONAL, PersonalSettings
from training.personal.trainer import PersonalTrainer
from training.seed.run import SeedRun
from training.seed.settings import SEED, SeedSettings
from training.seed.trainer import SeedTrainer
from training.synthesis.dataset import synthesise
from training.tables.preparation import prepare
from training.tables.tables import Tables

pytest_plugins = [
    "tests.running.gates",
    "tests.running.in_process",
    "tests.running.installation",
    "tests.running.program",
    "tests.running.redis",
    "tests.running.torchserve",
    "tests.toy.fixtures",
]

Train = Callable[[Tables, SeedSettings, Path], SeedRun]


# A TorchScript graph sets them for the whole process; sums depend on them in their last bit.
THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def mal() -> Path:
    """Real ratings; they are not ours to hand on, so they may be absent."""
    folder = Path(os.environ.get("ANIRANK_DATA", Path(__file__).parents[2] / "shared/data/mal"))
    if not folder.is_dir():
        pytest.skip(f"no real ratings at {folder}; set ANIRANK_DATA")
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the three CSV files."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthesise(folder, users=400, anime=300, ratings=12_000, seed=3)
    return folder


@pytest.fixture(scope="session")
def tables(synthetic: Path) -> Tables:
    return prepare(synthetic)


@pytest.fixture(scope="session")
def seed_settings() -> SeedSettings:
    """The seed's recipe, short."""
    return SEED.resolved(epochs=2, batch_size=128, learning_rate=0.003)


@pytest.fixture(scope="session")
def trained() -> Train:
    """Trains a new run in a folder, to its last epoch."""
    return _train


@pytest.fixture(scope="session")
def run(
    tables: Tables, seed_settings: SeedSettings, tmp_path_factory: pytest.TempPathFactory
) -> SeedRun:
    return _train(tables, seed_settings, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="session")
def personal_settings() -> PersonalSettings:
    """The `personal` preset, short."""
    return PERSONAL.resolved(epochs=3, batch_size=64)


@pytest.fixture(scope="session")
def personal(
    tables: Tables, personal_settings: PersonalSettings, tmp_path_factory: pytest.TempPathFactory
) -> PersonalRun:
    run = PersonalRun.create(tmp_path_factory.mktemp("personal") / "run", personal_settings, tables)
    torch.set_num_threads(THREADS)
    with Progress(Console(quiet=True), 3) as progress:
        assert PersonalTrainer(run, tables, torch.device("cpu")).fit(progress)
    return run


@pytest.fixture(scope="session")
def personal_bundle(personal: PersonalRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """With a light graph."""
    return export(personal, tmp_path_factory.mktemp("personal_store"), "anime", "1", light=True)


@pytest.fixture(scope="session")
def exported(run: SeedRun, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run, tmp_path_factory.mktemp("model_store"), "anime", "1")


@pytest.fixture(scope="session")
def bundle_dir(exported: Exported) -> Path:
    """model_store/anime/1"""
    return exported.folder


@pytest.fixture(scope="session")
def mar_file(exported: Exported) -> Path:
    """model_store/anime.mar"""
    return exported.archive


def _train(tables: Tables, seed_settings: SeedSettings, folder: Path) -> SeedRun:
    run = SeedRun.create(folder, seed_settings, tables)
    torch.set_num_threads(THREADS)
    trainer = SeedTrainer(run, tables, torch.device("cpu"))
    with Progress(Console(quiet=True), seed_settings.optimisation.epochs) as progress:
        assert trainer.fit(progress)
    return run
