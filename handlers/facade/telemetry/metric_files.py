"""The files of one of several processes' metrics, written before they are mapped.

prometheus_client maps files that it has made longer and not written: where the disk is full, who
counts there is ended by SIGBUS.
"""

import os
from pathlib import Path

from bundles.files import write_bytes

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library's variable for where they are
# One for each type of metric, and for each way in which a gauge's processes are added up.
KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemin")
# Bytes of each: the series of all methods and codes, and of some eighty versions.
SIZE = 512 * 1024


def reserve() -> None:
    """Write those of this process, empty, where `FOLDER` says; raises OSError."""
    written: list[Path] = []
    try:
        for kind in KINDS:
            path = Path(os.environ[FOLDER]) / f"{kind}_{os.getpid()}.db"
            write_bytes(path, bytes(SIZE))
            written.append(path)
    except OSError:
        for path in written:
            path.unlink()
        raise
