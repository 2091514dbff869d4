"""A bundle on disk: `model_store/NAME/VERSION/`, verified before anything of it is used."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anirank.errors import BundleError, SignatureError
from bundles import catalogue, crosses, histories
from bundles.catalogue import Catalogue
from bundles.crosses import Crosses
from bundles.files import Stamp, stamp_of
from bundles.histories import Histories
from bundles.manifest import Listed, Manifest

ONNX = "ranker.onnx"
TORCHSCRIPT = "ranker.ts"
REQUIRED = (
    "vocabularies.json",
    *(f"catalogue/{name}" for name in catalogue.FILES),
    *(f"histories/{name}" for name in histories.FILES),
)
# Where the manifest says what the wide part is.
CROSSES = tuple(f"crosses/{name}" for name in crosses.FILES)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle; `crosses` is None where the wide part takes no history.

    bundle = Bundle.latest(Path("model_store"), "anime")
    bundle.manifest.metrics
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    histories: Histories
    crosses: Crosses | None
    _stamps: Mapping[Path, Stamp | None] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, verify: bool = True, trust: Sequence[Path] = ()) -> "Bundle":
        """Open the bundle in `folder`, by default after checking every file's size and SHA-256.

        trust: PEM files of public keys; unless there are none, one of them must have signed the
        manifest, and with it what it lists. Either graph may be absent, every other file must be
        there; files that are not listed are not looked at. Raises BundleError naming the first file
        that is missing or is not what the manifest lists, SignatureError where the signature is.
        """
        manifest = Manifest.read(folder / "manifest.json", trust)
        for name in REQUIRED + (CROSSES if manifest.wide else ()):
            if name not in manifest.files:
                raise BundleError(f"{folder / 'manifest.json'}: files does not list {name}")
        stamps = {}
        for name, listed in manifest.files.items():
            path = folder / name
            if name in (ONNX, TORCHSCRIPT) and not os.path.lexists(path):
                continue
            _check_place(folder, path)
            stamps[path] = stamp_of(path)
            if verify:
                _verify(path, listed)
        opened = Catalogue(folder / "catalogue")
        wide = manifest.wide
        bundle = cls(
            folder,
            manifest,
            opened,
            Histories(folder / "histories"),
            Crosses(folder / "crosses", len(opened), wide) if wide else None,
            stamps,
        )
        for path in stamps:
            bundle._check_unchanged(path)
        return bundle

    @classmethod
    def latest(
        cls, store: Path, name: str, version: str | None = None, trust: Sequence[Path] = ()
    ) -> "Bundle":
        """Open a model's newest version in `store`, or the version given; `trust` as in `open`.

        Raises BundleError where there is none.
        """
        folder = store / name
        found = versions(store, name)
        if version is not None and version not in found:
            raise BundleError(f"{folder}: has no version {version!r}; found {', '.join(found)}")
        chosen = folder / (version or found[-1])
        bundle = cls.open(chosen, trust=trust)
        said = (bundle.manifest.name, bundle.manifest.version)
        if trust and said != (name, chosen.name):
            # Else whoever can move folders could have an old one served as the newest.
            raise SignatureError(f"{chosen / 'manifest.json'}: is signed as {' '.join(said)}")
        return bundle

    def graph_file(self, name: str) -> Path:
        """The path of `ONNX` or `TORCHSCRIPT`; raises BundleError where this bundle has it not."""
        path = self.folder / name
        if name not in self.manifest.files or not path.is_file():
            raise BundleError(f"{path}: is missing, and this backend needs it")
        self._check_unchanged(path)
        return path

    def _check_unchanged(self, path: Path) -> None:
        if stamp_of(path) != self._stamps.get(path):
            raise BundleError(f"{path}: changed after it was verified")


def _check_place(folder: Path, path: Path) -> None:
    """Raise BundleError unless `path` is a file of the bundle in `folder`."""
    try:
        real = path.resolve()
    except RuntimeError:  # links in a circle
        real = path
    if not real.is_relative_to(folder.resolve()):
        raise BundleError(f"{path}: is a link to {real}, outside of the bundle")
    if not path.exists():
        raise BundleError(f"{path}: is missing")
    if not path.is_file():
        raise BundleError(f"{path}: is not a file")


def versions(store: Path, name: str) -> list[str]:
    """The versions of a model in `store`, the newest last.

    A folder whose name begins with a dot is none yet. Raises BundleError where there is none.
    """
    folder = store / name
    if not name or Path(name).name != name or not folder.is_dir():
        raise BundleError(f"{store}: holds no model named {name!r}")
    found = [path.parent.name for path in folder.glob("[!.]*/manifest.json")]
    if not found:
        raise BundleError(f"{folder}: holds no version with a manifest.json")
    return sorted(found, key=natural_order)


def _verify(path: Path, listed: Listed) -> None:
    size = path.stat().st_size
    if size != listed.bytes:
        raise BundleError(f"{path}: has {size} bytes, the manifest says {listed.bytes}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    if digest != listed.sha256:
        raise BundleError(f"{path}: SHA-256 is {digest}, the manifest says {listed.sha256}")


def natural_order(version: str) -> list[tuple[int, int, str]]:
    """The key to sort versions by: 10 is newer than 9."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
