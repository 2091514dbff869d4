"""manifest.json: what a bundle says about itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from anirank.errors import BundleError
from bundles import files, graph, signature
from bundles.profile import ProfileField, read_field
from bundles.tables import KINDS
from bundles.wide import Wide, read_wide

FORMAT = 1
_LARGEST = 16 * 1024 * 1024  # bytes; ours take a few KiB


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the bundle as the manifest lists it."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Users:
    """What a bundle holds of single users: of how many, and what of each, by name."""

    count: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest, checked; `beta` and `mean` are those of the blended score.

    wide: None where the wide part takes no history, and so gives no reasons. users: None where the
    bundle does not say. updated_from: what the run was updated from, None where trained anew.
    tables: the kind of the tables for compiled code, None where it has none.
    files: by name, all files of the bundle but the manifest and its signature.
    """

    name: str
    version: str
    preset: str
    label: str
    created: str
    data_fingerprint: str
    libraries: Mapping[str, str]
    uses_history: bool
    profile: tuple[ProfileField, ...]
    beta: float
    mean: float
    wide: Wide | None
    parity: Mapping[str, Any]
    metrics: Mapping[str, Any]
    users: Users | None = None
    updated_from: Mapping[str, Any] | None = None
    tables: str | None = None
    files: Mapping[str, Listed] = field(default_factory=dict)

    @staticmethod
    def read(path: Path, trust: Sequence[Path] = ()) -> "Manifest":
        """The manifest at `path`; raises BundleError where it is missing or not of this format.

        trust: PEM files of public keys; unless there are none, one of them must have signed it.
        """
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST + 1)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
        if len(text) > _LARGEST:
            raise BundleError(f"{path}: has more than {_LARGEST} bytes")
        if trust:  # before anything is made of what it says
            signature.check(path, text, trust)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path}: not JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else None
            raise BundleError(f"{path}: format is {found!r}, this version reads {FORMAT}")
        try:
            return _manifest(content)
        except KeyError as error:
            raise BundleError(f"{path}: {error.args[0]} is missing") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        """Write the manifest to `path`, which `read` reads."""
        files.write_json(path, self._content())

    def described(self) -> dict[str, Any]:
        """What whoever has a graph alone needs to know: its metadata, and part of the manifest."""
        return {
            "name": self.name,
            "version": self.version,
            "preset": self.preset,
            "label": self.label,
            "profile": [each.declared() for each in self.profile],
            "score": {"beta": self.beta, "mean": self.mean},
        }

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **self.described(),
            "created": self.created,
            "data_fingerprint": self.data_fingerprint,
            "libraries": self.libraries,
            "graph": {"uses_history": self.uses_history, **graph.signature()},
            "wide": None if self.wide is None else self.wide.declared(),
            **({} if self.users is None else {"users": asdict(self.users)}),
            **({} if self.updated_from is None else {"updated_from": self.updated_from}),
            "tables": self.tables,
            "parity": self.parity,
            "metrics": self.metrics,
            "files": {name: asdict(listed) for name, listed in self.files.items()},
        }


def _manifest(content: dict[str, Any]) -> Manifest:
    declared, score = content["graph"], content["score"]
    for side, ports in (("inputs", graph.INPUTS), ("outputs", graph.OUTPUTS)):
        names, found = tuple(ports), tuple(entry["name"] for entry in declared[side])
        if found != names:
            raise ValueError(f"graph {side} are {', '.join(found)}; should be {', '.join(names)}")
    return Manifest(
        name=_text(content, "name"),
        version=_text(content, "version"),
        preset=_text(content, "preset"),
        label=_text(content, "label"),
        created=_text(content, "created"),
        data_fingerprint=_text(content, "data_fingerprint"),
        libraries=dict(content["libraries"]),
        uses_history=bool(declared["uses_history"]),
        profile=tuple(read_field(entry) for entry in content["profile"]),
        beta=float(score["beta"]),
        mean=float(score["mean"]),
        wide=None if content["wide"] is None else read_wide(content["wide"]),
        parity=dict(content["parity"]),
        metrics=dict(content["metrics"]),
        users=_users(content["users"]) if "users" in content else None,
        updated_from=dict(content["updated_from"]) if "updated_from" in content else None,
        tables=_kind(content.get("tables")),
        files={_inside(name): _listed(entry) for name, entry in content["files"].items()},
    )


def _users(declared: dict[str, Any]) -> Users:
    if not all(isinstance(name, str) for name in declared["fields"]):
        raise TypeError(f"users has fields {declared['fields']!r}, should be texts")
    return Users(int(declared["count"]), tuple(declared["fields"]))


def _text(content: dict[str, Any], key: str) -> str:
    value = content[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}, should be text")
    return value


def _kind(tables: Any) -> str | None:
    # Of a kind that this version does not know, it has no use; the graphs say the same.
    return str(tables) if tables in KINDS else None


def _listed(entry: dict[str, Any]) -> Listed:
    return Listed(sha256=str(entry["sha256"]), bytes=int(entry["bytes"]))


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        raise ValueError(f"file {name!r} is not a plain path inside the bundle")
    return name
