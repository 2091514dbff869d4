from collections.abc import Iterator

import grpc
import pytest

from tests.handlers.facade.hostile.requests import UNLIMITED


@pytest.fixture(scope="module")
def facade(serving, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "stderr"
    with serving(log) as facade:
        yield facade
    assert "Traceback" not in log.read_text()


@pytest.fixture
def channel(facade) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(facade.address, options=UNLIMITED) as channel:
        yield channel
