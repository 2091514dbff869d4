"""What a .mar holds, by its own manifest."""

import json
import zipfile
from pathlib import Path

from anirank.errors import TorchServeError


def read_archive(mar: Path) -> tuple[str, str]:
    """The name and the version of the model in a .mar; raises TorchServeError where it is none."""
    try:
        with zipfile.ZipFile(mar) as archive:
            model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
            name, version = str(model["modelName"]), str(model["modelVersion"])
    except OSError as error:
        raise TorchServeError(f"{mar}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise TorchServeError(f"{mar}: not a model archive ({error})") from error
    return name, version


def check_archive(mar: Path, version: str) -> None:
    """Raise TorchServeError where a .mar does not hold this version."""
    _, held = read_archive(mar)
    if held != version:
        raise TorchServeError(f"{mar}: holds version {held}, should be {version}")
