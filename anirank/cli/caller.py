"""The options of commands that call a façade: what they trust, and what they show."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anirank.client.sync import Client

TlsCa = Annotated[
    Path | None, typer.Option(help="PEM of the authorities that vouch for the façade: TLS.")
]
TlsCert = Annotated[
    Path | None, typer.Option(help="PEM of a certificate to show a façade that asks.")
]
TlsKey = Annotated[Path | None, typer.Option(help="PEM of its private key.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File of the bearer token to show. [default: what ANIRANK_TOKEN holds]"),
]


@dataclass(frozen=True)
class Caller:
    """What was given of these on the command line."""

    tls_ca: TlsCa = None
    tls_cert: TlsCert = None
    tls_key: TlsKey = None
    token_file: TokenFile = None

    def client(self, address: str) -> "Client":
        """A client for HOST:PORT; raises CredentialsError."""
        from anirank.client.sync import Client
        from anirank.client.tokens import client_token

        token = client_token(self.token_file)
        return Client(
            address, ca=self.tls_ca, certificate=self.tls_cert, key=self.tls_key, token=token
        )
