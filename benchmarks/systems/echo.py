"""A gRPC server that does nothing: what a call costs before anything is computed.

It answers RankingService/Rank with the reply it is given in a file, and reads nothing. It prints
its address, which several of it may share.
"""

import asyncio
import sys
from pathlib import Path

import grpc

from benchmarks.load.requests import RANK


async def serve(reply: bytes, address: str) -> None:
    """Answer at HOST:PORT until the process ends."""

    async def rank(body: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return reply

    service, method = RANK.strip("/").split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(rank)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port(address)
    await server.start()
    print(f"ready on {address.rpartition(':')[0]}:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_bytes(), sys.argv[2]))
