"""The presets there are. A new one is a folder and a line here."""

from pathlib import Path
from typing import Any

from anirank.errors import PresetError
from training.personal.preset import PersonalPreset
from training.preset import Preset
from training.run import Run, read_config
from training.seed.preset import SeedPreset

PRESETS: dict[str, Preset[Any]] = {
    preset.defaults.name: preset for preset in (PersonalPreset(), SeedPreset())
}
DEFAULT = "personal"


def named(name: str) -> Preset[Any]:
    """The preset `name`. Raises PresetError where there is none."""
    if name not in PRESETS:
        raise PresetError(f"preset {name!r} is not known; there is {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_of(run: Run[Any]) -> Preset[Any]:
    """The preset that a run is of."""
    return PRESETS[run.settings.name]


def open_run(folder: Path) -> Run[Any]:
    """A run made before, of any preset.

    Raises RunError where there is none, PresetError where its settings do not hold together.
    """
    declared, _ = read_config(folder)
    run: Run[Any] = named(declared["name"]).open(folder)
    return run
