"""A store of one's own, in which a bundle is published again and again as the next version."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundles.bundle import Bundle

MANIFEST = "manifest.json"


class Copies:
    """Versions 1, 2, 3 … of a bundle in a new store; only what their manifests say differs.

    Files are copied, not linked: a link changes the times of the file it leads to, by which a
    server tells that it is no longer the one that was verified.
    """

    def __init__(
        self,
        bundle: Bundle,
        store: Path,
        change: Callable[[dict[str, Any]], None] = lambda manifest: None,
    ) -> None:
        """Publish version 1 in `store`, with the model's .mar beside it where there is one.

        change: what else is to differ in a version's manifest.
        """
        self.name, self.store, self._change = bundle.manifest.name, store, change
        self._source = bundle.folder
        self.version = 0
        self.publish()
        archive = bundle.folder.parent.parent / f"{self.name}.mar"
        if archive.is_file():
            shutil.copy2(archive, store / archive.name)

    def stage(self, count: int) -> None:
        """Copy the next `count` versions ahead, so that to publish them costs nothing."""
        for version in range(self.version + 1, self.version + count + 1):
            self._copy(version)

    def publish(self) -> str:
        """The next version, there all at once; its name."""
        self.version += 1
        target = self.store / self.name / str(self.version)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._copy(self.version).rename(target)
        return str(self.version)

    def withdraw(self, version: str) -> None:
        """Remove an older version, as who keeps a store tidy does."""
        shutil.rmtree(self.store / self.name / version, ignore_errors=True)

    def _copy(self, version: int) -> Path:
        """A copy where nobody looks for versions; the one there is, if it was staged."""
        stage = self.store / f".{version}"
        if not stage.exists():
            shutil.copytree(self._source, stage)
            manifest = json.loads((stage / MANIFEST).read_text(encoding="utf-8"))
            manifest["version"] = str(version)  # the manifest lists every file but itself
            self._change(manifest)
            (stage / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        return stage
