"""A bundle on disk: `model_store/NAME/VERSION/`, verified before anything of it is used.

docs/bundle-format.md specifies it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anirank.errors import BundleError, SignatureError
from bundles.catalogue import Catalogue
from bundles.crosses import Crosses
from bundles.files import Stamp, sha256, stamp_of
from bundles.histories import Histories
from bundles.manifest import Listed, Manifest
from bundles.tables import ServedTables, kind_of, read_tables, table_files, write_tables
from bundles.vocabularies import VOCABULARIES, Vocabularies, write_vocabularies

MANIFEST = "manifest.json"
ONNX = "ranker.onnx"
# The part of it that the affinity needs; its tables stand in `ONNX`.
AFFINITY = "ranker-affinity.onnx"
TORCHSCRIPT = "ranker.ts"
GRAPHS = (ONNX, AFFINITY, TORCHSCRIPT)
REQUIRED = (
    VOCABULARIES,
    *(f"catalogue/{name}" for name in Catalogue.FILES),
    *(f"histories/{name}" for name in Histories.FILES),
)
# Where the manifest says what the wide part is.
CROSSES = tuple(f"crosses/{name}" for name in Crosses.FILES)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle; `crosses` is None where the wide part takes no history.

    tables: what compiled code computes with, None where the bundle has no such.

    bundle = Bundle.latest(Path("model_store"), "anime")
    bundle.manifest.metrics
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    histories: Histories
    crosses: Crosses | None
    tables: ServedTables | None
    _stamps: Mapping[Path, Stamp | None] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, verify: bool = True, trust: Sequence[Path] = ()) -> "Bundle":
        """Open the bundle in `folder`, by default after checking every file's size and SHA-256.

        trust: PEM files of public keys; unless there are none, one of them must have signed the
        manifest, and with it what it lists. Any graph may be absent, every other file must be
        there; files that are not listed are not looked at. Raises BundleError naming the first file
        that is missing or is not what the manifest lists, SignatureError where the signature is.
        """
        manifest = Manifest.read(folder / MANIFEST, trust)
        for name in _required(manifest):
            if name not in manifest.files:
                raise BundleError(f"{folder / MANIFEST}: files does not list {name}")
        stamps = {}
        for name, listed in manifest.files.items():
            path = folder / name
            if name in GRAPHS and not os.path.lexists(path):
                continue
            _check_place(folder, path)
            stamps[path] = stamp_of(path)
            if verify:
                _verify(path, listed)
        wide, kind = manifest.wide, manifest.tables
        catalogue = Catalogue.read(folder / "catalogue")
        crosses = Crosses.read(folder / "crosses", wide) if wide else None
        _check_crosses(folder, catalogue, crosses)
        sizes = (len(catalogue), len(manifest.profile))
        bundle = cls(
            folder,
            manifest,
            catalogue,
            Histories.read(folder / "histories"),
            crosses,
            read_tables(kind, folder / "tables", *sizes, crosses) if kind else None,
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
            raise SignatureError(f"{chosen / MANIFEST}: is signed as {' '.join(said)}")
        return bundle

    def has(self, name: str) -> bool:
        """Whether this bundle has a graph of `GRAPHS`."""
        return self.folder / name in self._stamps

    def graph_file(self, name: str) -> Path:
        """The path of a graph of `GRAPHS`; raises BundleError where this bundle has it not."""
        path = self.folder / name
        if not self.has(name):
            raise BundleError(f"{path}: is missing, and this backend needs it")
        self._check_unchanged(path)
        return path

    def _check_unchanged(self, path: Path) -> None:
        if stamp_of(path) != self._stamps.get(path):
            raise BundleError(f"{path}: changed after it was verified")


def write_bundle(
    folder: Path,
    manifest: Manifest,
    catalogue: Catalogue,
    histories: Histories,
    crosses: Crosses | None,
    vocabularies: Vocabularies,
    tables: ServedTables | None = None,
) -> Manifest:
    """Write a bundle around the graphs that stand in `folder` already.

    The manifest comes last and lists every file that is then there, whatever its `files`, `wide`
    and `tables` are. Returns it as it is written.
    """
    catalogue.write(folder / "catalogue")
    histories.write(folder / "histories")
    if crosses is not None:
        crosses.write(folder / "crosses")
    write_vocabularies(folder, vocabularies)
    if tables is not None:
        write_tables(tables, folder / "tables")
    written = replace(
        manifest,
        wide=None if crosses is None else crosses.wide,
        tables=None if tables is None else kind_of(tables),
        files=_listing(folder),
    )
    written.write(folder / MANIFEST)
    return written


def _required(manifest: Manifest) -> tuple[str, ...]:
    """The files that the manifest of a bundle has to list."""
    crosses = CROSSES if manifest.wide else ()
    return REQUIRED + crosses + (table_files(manifest.tables) if manifest.tables else ())


def _check_crosses(folder: Path, catalogue: Catalogue, crosses: Crosses | None) -> None:
    if crosses is not None and len(crosses) != len(catalogue):
        raise BundleError(
            f"{folder / 'crosses'}: of {len(crosses)} anime, the catalogue has {len(catalogue)}"
        )


def _listing(folder: Path) -> dict[str, Listed]:
    return {
        path.relative_to(folder).as_posix(): Listed(sha256(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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
    found = [path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}")]
    if not found:
        raise BundleError(f"{folder}: holds no version with a {MANIFEST}")
    return sorted(found, key=natural_order)


def _verify(path: Path, listed: Listed) -> None:
    size = path.stat().st_size
    if size != listed.bytes:
        raise BundleError(f"{path}: has {size} bytes, the manifest says {listed.bytes}")
    try:
        digest = sha256(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    if digest != listed.sha256:
        raise BundleError(f"{path}: SHA-256 is {digest}, the manifest says {listed.sha256}")


def natural_order(version: str) -> list[tuple[int, int, str]]:
    """The key to sort versions by: 10 is newer than 9."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
