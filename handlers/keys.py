"""The keys that TorchServe writes and asks for."""

import json
from pathlib import Path
from typing import Literal

from handlers.errors import BackendUnavailable


class KeyFile:
    """A TorchServe's `key_file.json`, read again whenever TorchServe has written it anew."""

    def __init__(self, path: Path) -> None:
        """Read from `path`, which need not be there yet."""
        self.path = path
        self._keys: dict[str, str] = {}
        self._read_at = -1  # the file's time when it was read, in nanoseconds

    def key(self, kind: Literal["inference", "management"]) -> str:
        """The key for one of TorchServe's APIs; raises BackendUnavailable where there is none."""
        try:
            changed_at = self.path.stat().st_mtime_ns
            if changed_at != self._read_at:
                content = json.loads(self.path.read_text(encoding="utf-8"))
                self._keys = {name: str(entry["key"]) for name, entry in content.items()}
                self._read_at = changed_at
            return self._keys[kind]
        except OSError as error:
            raise BackendUnavailable(f"{self.path}: cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BackendUnavailable(f"{self.path}: holds no {kind} key") from error
