"""Installed distributions lent to another environment, by links."""

import shutil
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# TorchServe follows links to find its home, and would find this environment.
COPIED = {"ts"}


def required(by: Distribution, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a distribution with these extras requires on this machine."""
    wanted = [{"extra": extra} for extra in ("", *extras)]
    lines = [Requirement(line) for line in by.requires or ()]
    return [r for r in lines if r.marker is None or any(map(r.marker.evaluate, wanted))]


def closure(requirements: Iterable[Requirement]) -> list[Distribution]:
    """The distributions of this environment that are required, and all that these require.

    Raises PackageNotFoundError where one is not here.
    """
    found: dict[str, Distribution] = {}
    met: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in met:
            met.add((name, extras))
            found[name] = distribution(name)
            waiting += required(found[name], extras)
    return list(found.values())


def lend(distributions: Iterable[Distribution], packages: Path) -> None:
    """Put distributions of this environment into the site-packages of another."""
    for each in distributions:
        files = [Path(file) for file in each.files or ()]
        inside = [file for file in files if file.parts[0] not in ("..", "__pycache__")]
        for part in {_part(each, file) for file in inside}:
            source, target = Path(str(each.locate_file(part))), packages / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if part.name in COPIED:
                shutil.copytree(source, target)
            else:
                target.symlink_to(source)


def _part(of: Distribution, file: Path) -> Path:
    """The outermost of a file's folders that is of one distribution alone, else the file.

    Several share a folder such as `google`, which is then no package but a namespace.
    """
    for folder in reversed(file.parents[:-1]):
        package = Path(str(of.locate_file(folder / "__init__.py")))
        if folder.suffix == ".dist-info" or package.is_file():
            return folder
    return file
