from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from handlers.facade.health import HISTORIES, STORE
from handlers.facade.telemetry.observer import SERVICE

MESSAGES: Any = health_pb2  # types-grpcio-health-checking does not know those of List
RESPONSE = health_pb2.HealthCheckResponse


def test_every_method_of_health_is_answered_and_leaves_nothing_in_the_log(serving, tmp_path):
    log = tmp_path / "stderr"
    with (
        serving(log, "--histories", tmp_path / "histories") as facade,
        grpc.insecure_channel(facade.address) as channel,
    ):
        health = HealthStub(channel)
        listed = health.List(MESSAGES.HealthListRequest(), timeout=30)
        assert dict(listed.statuses) == {
            service: RESPONSE(status=RESPONSE.SERVING)
            for service in ("", SERVICE, STORE, HISTORIES)
        }
        for service, status in listed.statuses.items():
            asked = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(asked, timeout=30) == status
            watch = health.Watch(asked, timeout=30)
            assert next(watch) == status
            watch.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="none"), timeout=30)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert log.read_text() == ""
