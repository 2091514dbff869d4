"""From settings to an observer: the log, the page of metrics and the traces that are asked for."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from handlers.facade.settings import Settings
from handlers.facade.telemetry import logs, metric_files
from handlers.facade.telemetry.observer import Observer
from handlers.facade.telemetry.request import Sink

log = logging.getLogger(__name__)


@contextmanager
def observation(settings: Settings, worker: bool = False) -> Iterator[tuple[Observer, list[str]]]:
    """An observer, and lines that say where what it observes is shown; closes what it opens.

    From here on the process writes its log as JSON to standard error. worker: the parent shows the
    metrics; where the disk has no room for them, it serves without. Raises AddressUnavailable and
    AddressRefused for their address.
    """
    logs.start(settings.log_level)
    sinks: list[Sink] = []
    lines = []
    # What is not asked for is not imported either.
    with ExitStack() as stack:
        if settings.metrics_address is not None and (not worker or _room_for_metrics()):
            from handlers.facade.telemetry.metrics import Metrics
            from handlers.facade.telemetry.metrics_server import MetricsServer

            metrics = Metrics()
            sinks.append(metrics)
            if not worker:
                page = MetricsServer(
                    settings.metrics_address,
                    metrics.registry,
                    insecure_public=settings.insecure_public,
                )
                lines.append(f"metrics on {stack.enter_context(page).url}")
        if settings.tracing:
            from handlers.facade.telemetry.tracing import Tracing

            tracing = Tracing()
            stack.callback(tracing.close)
            sinks.append(tracing)
        yield Observer(*sinks), lines


def _room_for_metrics() -> bool:
    try:
        metric_files.reserve()
    except OSError as error:
        log.error("this worker has no metrics, as they cannot be written (%s)", error.strerror)
        return False
    return True
