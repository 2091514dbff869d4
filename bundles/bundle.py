"""A bundle on disk: `model_store/NAME/VERSION/`, verified before anything of it is used.

docs/bundle-format.md specifies it.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from anirank.errors import BundleError, SignatureError
from bundles.catalogue import Catalogue
from bundles.crosses import Crosses
from bundles.facets import Facets
from bundles.files import Stamp, copy, open_regular, sha256, stamp_of
from bundles.histories import Histories
from bundles.manifest import Listed, Manifest, signed_content
from bundles.tables import ServedTables, kind_of, read_tables, table_files, write_tables
from bundles.vocabularies import VOCABULARIES, Vocabularies, write_vocabularies

MANIFEST = "manifest.json"
ONNX = "ranker.onnx"
# The part of it that the affinity needs; its tables stand in `ONNX`.
AFFINITY = "ranker-affinity.onnx"
TORCHSCRIPT = "ranker.ts"
GRAPHS = (ONNX, AFFINITY, TORCHSCRIPT)
# For a page or a phone; nothing here reads them, and a copy may be without.
LIGHT = "light/ranker.onnx"
LIGHT_CATALOGUE = "light/catalogue.json"
_OPTIONAL = (*GRAPHS, LIGHT, LIGHT_CATALOGUE)
REQUIRED = (
    VOCABULARIES,
    *(f"catalogue/{name}" for name in Catalogue.FILES),
    *(f"histories/{name}" for name in Histories.FILES),
)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Where the manifest says what the wide part is.
CROSSES = tuple(f"crosses/{name}" for name in Crosses.FILES)
# Where the manifest lists one of them; a bundle of before has none.
FACETS = tuple(f"facets/{name}" for name in Facets.FILES)


class _Kept:
    """Stands as long as the bundle does, and a private copy as long as this."""


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle; `crosses` is None where the wide part takes no history.

    folder: where its files are; for who trusts a key, a copy. tables: what compiled code computes
    with, None where the bundle has no such. facets: what requests filter by. stamps: of each file
    that is there, by which a change of it is seen.

    bundle = Bundle.latest(Path("model_store"), "anime")
    bundle.manifest.metrics
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    histories: Histories
    crosses: Crosses | None
    tables: ServedTables | None
    facets: Facets
    stamps: Mapping[Path, Stamp | None] = field(repr=False)
    _kept: "_Kept | None" = field(repr=False, default=None)

    @classmethod
    def open(cls, folder: Path, verify: bool = True, trust: Sequence[Path] = ()) -> "Bundle":
        """Open the bundle in `folder`, by default after checking every file's size and SHA-256.

        trust: PEM files of public keys; unless there are none, one of them must have signed the
        manifest, and with it what it lists, and what is opened is a copy that only this user can
        come at: what was checked is what is used, whoever writes to `folder`. Any graph, and what
        is for small places, may be absent, every other file must be there; files that are not
        listed are not looked at. Raises BundleError naming the first file that is missing or is not
        what the manifest lists, SignatureError where the signature is.
        """
        if trust:
            return cls._open_copy(folder, trust)
        return cls._open(folder, verify)

    @classmethod
    def _open_copy(cls, folder: Path, trust: Sequence[Path]) -> "Bundle":
        into = Path(tempfile.mkdtemp(prefix="anirank-"))
        kept = _Kept()
        weakref.finalize(kept, shutil.rmtree, into, ignore_errors=True)
        copy_bundle(folder, into, trust)
        with as_of(folder, into):
            return replace(cls._open(into, verify=False), _kept=kept)

    @classmethod
    def _open(cls, folder: Path, verify: bool) -> "Bundle":
        manifest = Manifest.read(folder / MANIFEST)
        stamps = {}
        for path, listed in _present(folder, manifest):
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
            _facets(folder, manifest, catalogue),
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
        return self.folder / name in self.stamps

    def graph_file(self, name: str) -> Path:
        """The path of a graph of `GRAPHS`; raises BundleError where this bundle has it not."""
        path = self.folder / name
        if not self.has(name):
            raise BundleError(f"{path}: is missing, and this backend needs it")
        self._check_unchanged(path)
        return path

    def _check_unchanged(self, path: Path) -> None:
        if stamp_of(path) != self.stamps.get(path):
            raise BundleError(f"{path}: changed after it was verified")


def copy_bundle(
    folder: Path,
    into: Path,
    trust: Sequence[Path] = (),
    graphs: Callable[[Manifest], Collection[str]] = lambda _: GRAPHS,
) -> Manifest:
    """Copy the bundle in `folder` to `into`, an empty folder, and verify what was copied.

    trust: as in `Bundle.open`. graphs: says which of `GRAPHS` are wanted; the others, and what is
    for small places, are verified where they stand. Raises the same as `Bundle.open`, where there
    is no room caused by an OSError.
    """
    content = signed_content(folder / MANIFEST, trust)
    manifest = Manifest.parse(content, folder / MANIFEST)
    unwanted = {folder / name for name in {*_OPTIONAL} - {*graphs(manifest)}}
    wanted = [(path, listed, path in unwanted) for path, listed in _present(folder, manifest)]
    _check_room(into, sum(listed.bytes for _, listed, left_out in wanted if not left_out))
    for path, listed, left_out in wanted:
        _verify(path, listed, None if left_out else into / path.relative_to(folder))
    try:
        (into / MANIFEST).write_bytes(content)
    except OSError as error:
        raise BundleError(f"{into / MANIFEST}: cannot be written ({error.strerror})") from error
    return manifest


@contextmanager
def as_of(folder: Path, copied: Path) -> Iterator[None]:
    """Have errors of the copy of a bundle speak of the bundle, which is what users know."""
    try:
        yield
    except BundleError as error:
        raise type(error)(str(error).replace(str(copied), str(folder))) from error


def write_bundle(
    folder: Path,
    manifest: Manifest,
    catalogue: Catalogue,
    histories: Histories,
    crosses: Crosses | None,
    vocabularies: Vocabularies,
    tables: ServedTables | None = None,
    facets: Facets | None = None,
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
    if facets is not None:
        facets.write(folder / "facets")
    written = replace(
        manifest,
        wide=None if crosses is None else crosses.wide,
        tables=None if tables is None else kind_of(tables),
        files=_listing(folder),
    )
    written.write(folder / MANIFEST)
    return written


def _present(folder: Path, manifest: Manifest) -> list[tuple[Path, Listed]]:
    """The listed files that are there; raises BundleError where one is missing that has to be."""
    crosses = CROSSES if manifest.wide else ()
    tables = table_files(manifest.tables) if manifest.tables else ()
    facets = FACETS if any(name in manifest.files for name in FACETS) else ()
    for name in (*REQUIRED, *crosses, *tables, *facets):
        if name not in manifest.files:
            raise BundleError(f"{folder / MANIFEST}: files does not list {name}")
    found = []
    for name, listed in manifest.files.items():
        path = folder / name
        if name in _OPTIONAL and not os.path.lexists(path):
            continue
        _check_place(folder, path)
        found.append((path, listed))
    return found


def _check_room(into: Path, needed: int) -> None:
    if shutil.disk_usage(into).free < needed:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # Not how many are free: what is logged once while it stays so must not differ each time.
        raise BundleError(
            f"{into.parent}: a copy needs {needed / 1e6:.1f} MB, which are not free"
        ) from full


def _facets(folder: Path, manifest: Manifest, catalogue: Catalogue) -> Facets:
    if FACETS[0] in manifest.files:
        return Facets.read(folder / "facets", len(catalogue))
    return Facets.of_catalogue(catalogue)


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

    A folder of another name than a version may have is none. Raises BundleError where there is
    none, or where that cannot be seen.
    """
    folder = store / name
    try:
        if not name or Path(name).name != name or not folder.is_dir():
            raise BundleError(f"{store}: holds no model named {name!r}")
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _VERSION.fullmatch(entry.name)]
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read ({error.strerror})") from error
    found = [each for each in names if os.path.lexists(folder / each / MANIFEST)]
    if not found:
        raise BundleError(f"{folder}: holds no version with a {MANIFEST}")
    return sorted(found, key=natural_order)


def _verify(path: Path, listed: Listed, copied: Path | None = None) -> None:
    """Raise BundleError unless a file is what is listed, or the copy of it that is to be made."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != listed.bytes:
                raise BundleError(f"{path}: has {size} bytes, the manifest says {listed.bytes}")
            if copied is not None:
                copied.parent.mkdir(parents=True, exist_ok=True)
                copy(file, copied)
                digest = sha256(copied)
            else:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror
        raise BundleError(f"{path}: cannot be read or copied ({reason})") from error
    if digest != listed.sha256:
        raise BundleError(f"{path}: SHA-256 is {digest}, the manifest says {listed.sha256}")


def natural_order(version: str) -> list[tuple[int, int, str]]:
    """The key to sort versions by: 10 is newer than 9."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
