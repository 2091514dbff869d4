"""A run on all ratings, nothing held back, of what another run has chosen."""

import shutil
from pathlib import Path

from anirank.errors import RunError
from training.run import PersonalRun
from training.tables.tables import Tables

CHOSEN = ("mix.json", "evaluation.json")  # how the parts add up, and how well it did


def begin_refit(chosen: PersonalRun, folder: Path, tables: Tables) -> PersonalRun:
    """Begin a run in `folder` with the settings, the mix and the figures of `chosen`.

    Raises RunError where `chosen` has not ended, or was trained on other data.
    """
    if tables.fingerprint != chosen.fingerprint:
        raise RunError(f"{chosen.folder}: was trained on other data (the fingerprints differ)")
    if chosen.preset.split_by == "none":
        raise RunError(f"{chosen.folder}: holds nothing back already; name the run it came from")
    for name in CHOSEN:
        if not (chosen.folder / name).exists():
            raise RunError(f"{chosen.folder}: has not ended yet ({name} is missing)")
    preset = chosen.preset.model_copy(update={"split_by": "none"})
    run = PersonalRun.create(folder, preset, tables)
    for name in CHOSEN:
        shutil.copyfile(chosen.folder / name, folder / name)
    return run
