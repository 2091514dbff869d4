"""Calls an anirank façade over gRPC.

    from anirank_client import AsyncClient, Client

    with Client("localhost:50051") as client:
        reply = client.rank([6, 7, 8], history={1: 9, 5: None})

anirank_client.errors: every error they raise. anirank_client.requests: what makes their messages.
anirank_client.contract: the stubs of the contract, and `ranking.proto`.
"""

from anirank_client.aio import AsyncClient
from anirank_client.sync import Client

__all__ = ["AsyncClient", "Client"]
