import pytest

from handlers.facade.telemetry.metrics import Metrics
from handlers.facade.telemetry.metrics_server import MetricsServer
from handlers.facade.telemetry.observer import Observer


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def observer(metrics):
    return Observer(metrics)


@pytest.fixture
def port(metrics):
    with MetricsServer("127.0.0.1:0", metrics.registry) as server:
        yield server.port
