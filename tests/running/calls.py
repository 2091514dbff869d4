"""What the end of a call says, in types that gRPC's own errors do not have."""

from typing import Any, cast

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status


def status_of_call(error: grpc.RpcError | grpc.Call) -> Any:
    """The google.rpc.Status that a call left with; an error of gRPC is the call as well."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert isinstance(status, status_pb2.Status)
    return status
