"""Every error that making a model can raise.

    AnirankError
    ├── DataError      the input files
    ├── PresetError    the declaration of a model
    ├── RunError       a run folder
    └── ExportError    making a bundle from a run
        └── ParityError

A message is one line that says what was found, where, and what would be right:
``users-score-2023.csv: no column 'rating'; found user_id, anime_id``.
"""


class AnirankError(Exception):
    """Any error a user can meet; its message is one line, fit to be shown as it is."""


class DataError(AnirankError):
    """An input file or prepared folder that is missing, unreadable or empty."""


class PresetError(AnirankError):
    """A preset that does not exist or does not hold together."""


class RunError(AnirankError):
    """A run folder that is missing, incomplete or does not fit what it is used with."""


class ExportError(AnirankError):
    """A run that cannot be made into a bundle."""


class ParityError(ExportError):
    """Two forms of the same model that do not give the same answer."""
