"""vocabularies.json: what the model learnt of each column that is not a number.

Nothing that serves reads it: the vocabularies that a request needs stand in the manifest's
`profile`, and all others in the graph.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from anirank.errors import BundleError
from bundles import files

VOCABULARIES = "vocabularies.json"

# By column, its values in the order of their codes: the first has code 1, and 0 is "unknown".
Vocabularies = Mapping[str, Sequence[str | int]]


def write_vocabularies(folder: Path, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of the bundle in `folder`."""
    files.write_json(folder / VOCABULARIES, vocabularies, indent=None)


def read_vocabularies(folder: Path) -> dict[str, list[str | int]]:
    """The vocabularies of the bundle in `folder`; raises BundleError where there are none."""
    path = folder / VOCABULARIES
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict) or not all(map(_is_vocabulary, content.values())):
        raise BundleError(f"{path}: should be an object of lists of texts and integers")
    return content


def _is_vocabulary(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str | int) for value in values)
