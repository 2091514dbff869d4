"""manifest.json: what a bundle says about itself."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from anirank.errors import BundleError, quoted
from bundles import files, graph, signature
from bundles.profile import LARGEST_SINGLE, ProfileField, read_field
from bundles.tables import KINDS
from bundles.wide import Wide, number, read_wide

FORMAT = 1
_LARGEST = 16 * 1024 * 1024  # bytes; ours take a few KiB
_DEEPEST = 32  # objects and arrays within each other; GetModelInfo cannot tell of 100


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
    tables: the kind of the tables for compiled code, None where it has none. light: what the graph
    for small places was found to be worth, None where there is none.
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
    light: Mapping[str, Any] | None = None
    files: Mapping[str, Listed] = field(default_factory=dict)

    @staticmethod
    def read(path: Path, trust: Sequence[Path] = ()) -> "Manifest":
        """The manifest at `path`; raises BundleError where it is missing or not of this format.

        trust: PEM files of public keys; unless there are none, one of them must have signed it.
        """
        return Manifest.parse(signed_content(path, trust), path)

    @staticmethod
    def parse(text: bytes, path: Path) -> "Manifest":
        """The manifest in what was read of `path`; raises BundleError where it holds none."""
        try:
            content = json.loads(text, object_pairs_hook=_once_each)
            if _depth(content) > _DEEPEST:
                raise ValueError(f"is nested more than {_DEEPEST} deep")
            # JSON has neither NaN nor infinity, UTF-8 no half of a character; Python reads both.
            json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
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
            **({} if self.light is None else {"light": self.light}),
            "parity": self.parity,
            "metrics": self.metrics,
            "files": {name: asdict(listed) for name, listed in self.files.items()},
        }


def signed_content(path: Path, trust: Sequence[Path] = ()) -> bytes:
    """What stands in the manifest at `path`, signed as `Manifest.read` says, which raises the same.

    Nothing is made of it yet.
    """
    try:
        with files.open_regular(path) as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    if len(text) > _LARGEST:
        raise BundleError(f"{path}: has more than {_LARGEST} bytes")
    if trust:
        signature.check(path, hashlib.sha256(text).digest(), trust)
    return text


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a key that stands there twice, readers take one or the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key {quoted(twice)} stands twice in one object")
    return found


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=-1)


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
        uses_history=_flag(declared, "uses_history"),
        profile=_profile(content["profile"]),
        beta=_single(score, "beta"),
        mean=_single(score, "mean"),
        wide=None if content["wide"] is None else read_wide(content["wide"]),
        parity=dict(content["parity"]),
        metrics=dict(content["metrics"]),
        users=_users(content["users"]) if "users" in content else None,
        updated_from=dict(content["updated_from"]) if "updated_from" in content else None,
        tables=_kind(content.get("tables")),
        light=dict(content["light"]) if "light" in content else None,
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


def _flag(content: dict[str, Any], key: str) -> bool:
    value = content[key]
    if not isinstance(value, bool):
        raise TypeError(f"{key} is {quoted(value)}, should be true or false")
    return value


def _single(content: dict[str, Any], key: str) -> float:
    """A number that is computed with in float32."""
    value = number(content, key)
    if abs(value) > LARGEST_SINGLE:
        raise ValueError(f"{key} is {quoted(value)}, should be a number that float32 can hold")
    return value


def _profile(entries: list[Any]) -> tuple[ProfileField, ...]:
    fields = tuple(read_field(entry) for entry in entries)
    names = [each.name for each in fields]
    if len(set(names)) < len(names):
        raise ValueError(f"profile has a field twice: {quoted(names)}")
    return fields


def _kind(tables: Any) -> str | None:
    # Of a kind that this version does not know, it has no use; the graphs say the same.
    return str(tables) if tables in KINDS else None


def _listed(entry: dict[str, Any]) -> Listed:
    digest, size = entry["sha256"], entry["bytes"]
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"sha256 is {quoted(digest)}, should be 64 hexadecimal digits")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"bytes is {quoted(size)}, should be a size")
    return Listed(digest, size)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
        raise ValueError(f"file {name!r} is not a plain path inside the bundle")
    return name
