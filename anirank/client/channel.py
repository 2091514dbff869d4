"""How a client reaches a façade: checked before anything is sent."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from anirank.client.addresses import is_local
from anirank.client.credentials import client_credentials
from anirank.client.tokens import bearer
from anirank.errors import AddressUnavailable, CredentialsError

OPTIONS: list[tuple[str, int | str]] = [
    # The reply to 25,000 candidates with their titles is larger than gRPC's 4 MiB.
    ("grpc.max_receive_message_length", -1),
    # Of a name that stands for several servers all are called; gRPC itself would stay with one.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]


@dataclass(frozen=True)
class Route:
    """Where to call, and what goes with every call; `credentials` is None without TLS."""

    address: str
    credentials: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str], ...] | None

    @classmethod
    def to(
        cls,
        address: str,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token: str | None = None,
    ) -> "Route":
        """The route to HOST:PORT; the arguments, and what is raised, as in `Client`."""
        credentials = None
        if ca is not None:
            credentials = client_credentials(ca, certificate, key)
        elif certificate is not None or key is not None:
            raise CredentialsError(f"{certificate or key}: is of no use without an authority")
        elif token is not None and not _local(address):
            raise CredentialsError(f"{address}: the token would go there unencrypted; give a ca")
        return cls(address, credentials, None if token is None else bearer(token))

    def channel(self, server_name: str | None = None) -> grpc.Channel:
        """A channel for calls that wait.

        server_name: what the server's certificate is for, where that is not the address.
        """
        if self.credentials is None:
            return grpc.insecure_channel(self.address, options=OPTIONS)
        named = [("grpc.ssl_target_name_override", server_name)] if server_name else []
        return grpc.secure_channel(self.address, self.credentials, options=[*OPTIONS, *named])

    def aio_channel(self) -> grpc.aio.Channel:
        """A channel for asyncio."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, options=OPTIONS)
        return grpc.aio.secure_channel(self.address, self.credentials, options=OPTIONS)


def _local(address: str) -> bool:
    try:
        return is_local(address)
    except AddressUnavailable:  # of a form that gRPC may know and we do not
        return False
