"""From settings to an observer: the log, the page of metrics and the traces that are asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from anirank.client.addresses import opened
from handlers.facade.settings import Settings
from handlers.facade.telemetry import logs
from handlers.facade.telemetry.observer import Observer


@contextmanager
def observation(settings: Settings, worker: bool = False) -> Iterator[tuple[Observer, list[str]]]:
    """An observer, and lines that say where what it sees is shown; closes what it opens.

    From here on the process writes its log as JSON to standard error. worker: the parent shows the
    metrics. Raises AddressUnavailable and AddressRefused for their address, TracingUnavailable.
    """
    logs.start(settings.log_level)
    metrics = tracing = None
    lines = []
    # What is not asked for is not imported either.
    with ExitStack() as stack:
        if settings.tracing:
            from handlers.facade.telemetry.tracing import Tracing

            tracing = Tracing()
            stack.callback(tracing.close)
        if settings.metrics_address is not None:
            from handlers.facade.telemetry.metrics import Metrics

            metrics = Metrics()
        if metrics is not None and settings.metrics_address is not None and not worker:
            from handlers.facade.telemetry.metrics_server import PATH, MetricsServer

            page = stack.enter_context(
                MetricsServer(settings.metrics_address, metrics.registry, settings.insecure_public)
            )
            lines.append(f"metrics on http://{opened(settings.metrics_address, page.port)}{PATH}")
        yield Observer(metrics, tracing), lines
