"""A bundle on disk: `model_store/NAME/VERSION/`, verified before anything of it is used."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from handlers import catalogue, crosses, histories
from handlers.catalogue import Catalogue
from handlers.crosses import Crosses
from handlers.errors import BundleError
from handlers.histories import Histories
from handlers.manifest import Listed, Manifest

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

    @classmethod
    def open(cls, folder: Path, verify: bool = True) -> "Bundle":
        """Open the bundle in `folder`, by default after checking every file's size and SHA-256.

        Either graph may be absent, every other file must be there. Raises BundleError naming the
        first file that is missing or is not what the manifest lists.
        """
        manifest = Manifest.read(folder / "manifest.json")
        for name in REQUIRED + (CROSSES if manifest.wide else ()):
            if name not in manifest.files:
                raise BundleError(f"{folder / 'manifest.json'}: files does not list {name}")
        for name, listed in manifest.files.items():
            path = folder / name
            if not path.is_file():
                if name in (ONNX, TORCHSCRIPT):
                    continue
                raise BundleError(f"{path}: is missing")
            if verify:
                _verify(path, listed)
        opened = Catalogue(folder / "catalogue")
        wide = manifest.wide
        return cls(
            folder,
            manifest,
            opened,
            Histories(folder / "histories"),
            Crosses(folder / "crosses", len(opened), wide) if wide else None,
        )

    @classmethod
    def latest(cls, store: Path, name: str, version: str | None = None) -> "Bundle":
        """Open a model's newest version in `store`, or the version given.

        Versions are compared as people number them: 10 is newer than 9. Raises BundleError where
        there is none.
        """
        folder = store / name
        if not name or Path(name).name != name or not folder.is_dir():
            raise BundleError(f"{store}: holds no model named {name!r}")
        found = sorted(
            (path.parent.name for path in folder.glob("*/manifest.json")), key=_natural_order
        )
        if version is None and not found:
            raise BundleError(f"{folder}: holds no version with a manifest.json")
        if version is not None and version not in found:
            raise BundleError(
                f"{folder}: has no version {version!r}; found {', '.join(found) or 'none'}"
            )
        return cls.open(folder / (version or found[-1]))

    def graph_file(self, name: str) -> Path:
        """The path of `ONNX` or `TORCHSCRIPT`; raises BundleError where this bundle has it not."""
        path = self.folder / name
        if name not in self.manifest.files or not path.is_file():
            raise BundleError(f"{path}: is missing, and this backend needs it")
        return path


def _verify(path: Path, listed: Listed) -> None:
    size = path.stat().st_size
    if size != listed.bytes:
        raise BundleError(f"{path}: has {size} bytes, the manifest says {listed.bytes}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != listed.sha256:
        raise BundleError(f"{path}: SHA-256 is {digest}, the manifest says {listed.sha256}")


def _natural_order(version: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
