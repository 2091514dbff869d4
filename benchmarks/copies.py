"""A store of one's own, in which a bundle is published again and again as the next version."""

import json
import os
import shutil
from pathlib import Path

from handlers.bundle import Bundle

MANIFEST = "manifest.json"


class Copies:
    """Versions 1, 2, 3 … of a bundle in a new store; they share all files but their manifests."""

    def __init__(self, bundle: Bundle, store: Path) -> None:
        """Publish version 1 in `store`, with the model's .mar beside it where there is one."""
        self.name, self.store = bundle.manifest.name, store
        self._source = bundle.folder
        self.version = 0
        self.publish()
        archive = bundle.folder.parent.parent / f"{self.name}.mar"
        if archive.is_file():
            _link(archive, store / archive.name)

    def publish(self) -> str:
        """The next version, there all at once; its name."""
        self.version += 1
        target = self.store / self.name / str(self.version)
        stage = self.store / f".{self.version}"  # not under NAME, where who watches would see it
        for path in sorted(self._source.rglob("*")):
            copy = stage / path.relative_to(self._source)
            if path.is_dir():
                copy.mkdir(parents=True)
            elif path.name != MANIFEST:
                copy.parent.mkdir(parents=True, exist_ok=True)
                _link(path, copy)
        manifest = json.loads((self._source / MANIFEST).read_text(encoding="utf-8"))
        manifest["version"] = str(self.version)  # the manifest lists every file but itself
        (stage / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        stage.rename(target)
        return str(self.version)

    def withdraw(self, version: str) -> None:
        """Remove an older version, as who keeps a store tidy does."""
        shutil.rmtree(self.store / self.name / version, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Files of a version never change, so that versions may share them."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
