"""Files that are read again when they change, while what was read before serves on."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from anirank.errors import CredentialsError
from bundles.files import Stamp, stamp_of

Kind = TypeVar("Kind")

log = logging.getLogger(__name__)


class Reloading(Generic[Kind]):
    """A value made from files, and made again when one of them changes.

    Files that cannot be used are logged, once, and the value made before stays. May be asked from
    several threads at once.
    """

    def __init__(self, paths: tuple[Path, ...], read: Callable[[], Kind]) -> None:
        """Make the value with `read`, which raises CredentialsError where it cannot be made."""
        self._paths = paths
        self._read = read
        self._lock = threading.Lock()
        self._stamps = self._stamps_now()  # before reading: what changes meanwhile is read again
        self._value = read()

    def current(self) -> Kind:
        """The value that the files hold now, or held when they could last be used."""
        with self._lock:
            stamps = self._stamps_now()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._value = self._read()
                    log.info("%s: read again", self._paths[0])
                except CredentialsError as error:
                    log.error("%s; what was read before serves on", error)
            return self._value

    def _stamps_now(self) -> list[Stamp | None]:
        return [stamp_of(path) for path in self._paths]
