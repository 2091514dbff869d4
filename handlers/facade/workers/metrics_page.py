"""The metrics of several workers on one page, which their parent shows."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from handlers.facade.settings import Settings

_PREFIX, _LOCK = "anirank-metrics-", "lock"


@contextmanager
def shared_page(settings: Settings) -> Iterator[tuple[list[str], Callable[[int], None]]]:
    """Show what all workers started from here on count: lines that say where, and a function.

    The function is to be called with the id of each process that is gone, whose gauges then count
    no more. Raises AddressUnavailable and AddressRefused as `MetricsServer` does.
    """
    if settings.metrics_address is None:
        yield [], lambda pid: None
        return
    _clean_up()
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX) as folder,
        (Path(folder) / _LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # until this process ends, however it does
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # which the library reads at its import
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        from handlers.facade.telemetry.metrics_server import MetricsServer

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it ships without
        with MetricsServer(
            settings.metrics_address, registry, insecure_public=settings.insecure_public
        ) as page:
            yield [f"metrics on {page.url}"], mark_process_dead


def _clean_up() -> None:
    """Remove the folders of those that were killed: their locks are nobody's."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("r+") as file:  # another user's, or gone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
