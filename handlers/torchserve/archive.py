"""What a .mar holds, by its own manifest."""

import json
import zipfile
from pathlib import Path

from anirank.errors import TorchServeError
from bundles.files import open_regular

_OF_WORKERS = ("minWorkers", "maxWorkers", "responseTimeout", "startupTimeout")


def read_archive(mar: Path) -> tuple[str, str]:
    """The name and the version of the model in a .mar; raises TorchServeError where it is none."""
    try:
        with open_regular(mar) as file, zipfile.ZipFile(file) as archive:
            model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
            name, version = str(model["modelName"]), str(model["modelVersion"])
    except OSError as error:
        raise TorchServeError(f"{mar}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise TorchServeError(f"{mar}: not a model archive ({error})") from error
    return name, version


def without_batching(mar: Path) -> str:
    """TorchServe's `model_snapshot` for a .mar of which it hands on each request at once.

    That is JSON. What its model-config.yaml says of workers holds; without a snapshot its batchSize
    would as well, whatever config.properties says. Raises TorchServeError where it cannot be read.
    """
    import yaml  # which TorchServe needs, and a façade without one does not

    name, version = read_archive(mar)
    try:
        with zipfile.ZipFile(mar) as archive:
            manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
            config = yaml.safe_load(archive.read(manifest["model"]["configFile"]))
        given = {key: config[key] for key in _OF_WORKERS if key in config}
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TorchServeError(f"{mar}: its model-config.yaml cannot be read ({reason})") from error
    model = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 1, **given}
    model |= {"defaultVersion": True, "marName": mar.name}
    return json.dumps({"name": name, "modelCount": 1, "models": {name: {version: model}}})


def check_archive(mar: Path, version: str) -> None:
    """Raise TorchServeError where a .mar does not hold this version."""
    _, held = read_archive(mar)
    if held != version:
        raise TorchServeError(f"{mar}: holds version {held}, should be {version}")
