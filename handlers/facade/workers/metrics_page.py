"""The metrics of several workers on one page, which their parent shows."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from handlers import folders
from handlers.facade.settings import Settings
from handlers.facade.telemetry import metric_files

_PREFIX = "anirank-metrics-"


@contextmanager
def shared_page(settings: Settings) -> Iterator[tuple[list[str], Callable[[int], None]]]:
    """Show what all workers started from here on count: lines that say where, and a function.

    The function is to be called with the id of each process that is gone, whose gauges then count
    no more. Raises AddressUnavailable and AddressRefused as `MetricsServer` does.
    """
    if settings.metrics_address is None:
        yield [], lambda pid: None
        return
    with folders.scratch(_PREFIX) as folder:
        # Which the library reads at its import.
        os.environ[metric_files.FOLDER] = str(folder)
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        from handlers.facade.telemetry.metrics_server import MetricsServer

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it ships without
        with MetricsServer(
            settings.metrics_address, registry, insecure_public=settings.insecure_public
        ) as page:
            yield [f"metrics on {page.url}"], mark_process_dead
