"""A run of the `personal` preset."""

from dataclasses import dataclass
from pathlib import Path

from training.personal.settings import PersonalSettings
from training.run import Run
from training.splits import Split, split
from training.tables.tables import Tables


@dataclass(frozen=True)
class PersonalRun(Run[PersonalSettings]):
    """Its folder, and the files that no other preset has."""

    @property
    def crosses_file(self) -> Path:
        """The wide part, and what a rating is expected to be."""
        return self.folder / "crosses.safetensors"

    def parts(self, tables: Tables) -> Split:
        """The rows of the tables that it trains on, validates and tests with. Raises DataError."""
        settings = self.settings
        return split(tables, settings.split_by, settings.split, settings.seed)

    @property
    def mix_file(self) -> Path:
        """How the parts add up."""
        return self.folder / "mix.json"
