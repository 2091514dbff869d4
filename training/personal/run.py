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
        if self.split_file.exists():
            return Split.load(self.split_file)
        settings = self.settings
        return split(tables, settings.split_by, settings.split, settings.seed)

    @property
    def split_file(self) -> Path:
        """What an update holds out, since no rule makes it again."""
        return self.folder / "split.safetensors"

    @property
    def start_file(self) -> Path:
        """The weights that an update begins with."""
        return self.folder / "start.safetensors"

    @property
    def mix_file(self) -> Path:
        """How the parts add up."""
        return self.folder / "mix.json"
