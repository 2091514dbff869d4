"""Who may call, and from where: what a server is opened with."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from anirank.client.addresses import is_local
from anirank.client.tokens import WRITE_HISTORIES
from anirank.errors import AddressRefused, AddressUnavailable, CredentialsError
from handlers.security.tls import ServerTls
from handlers.security.tokens import TokenInterceptor, Tokens


@dataclass(frozen=True, slots=True)
class Security:
    """What protects a server; nothing, which is the default, serves this machine alone.

    tls: encrypts, and with mutual TLS asks for certificates. tokens: asks for one of them.
    insecure_public: serve other machines without TLS, where something else keeps intruders out.
    """

    tls: ServerTls | None = None
    tokens: Tokens | None = None
    insecure_public: bool = False

    @classmethod
    def from_files(
        cls,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        client_ca: Path | None = None,
        tokens: Path | None = None,
        insecure_public: bool = False,
    ) -> Self:
        """The protection that these files make; see `ServerTls` and `Tokens`.

        Raises CredentialsError where they make none.
        """
        if (certificate is None) != (key is None):
            raise CredentialsError(f"{certificate or key}: --tls-cert and --tls-key go together")
        if client_ca is not None and certificate is None:
            raise CredentialsError(f"{client_ca}: --tls-client-ca needs --tls-cert and --tls-key")
        return cls(
            ServerTls(certificate, key, client_ca) if certificate and key else None,
            Tokens(tokens) if tokens else None,
            insecure_public,
        )

    def check(self, address: str) -> None:
        """Raise AddressRefused where listening on `address` needs more protection than this.

        Raises AddressUnavailable where it is no address.
        """
        if self.tls is not None or is_local(address):
            return
        if self.tokens is not None:
            raise AddressRefused(
                f"{address}: is open to other machines, and tokens would cross the network "
                "unencrypted; give --tls-cert and --tls-key, or an address such as 127.0.0.1:50051"
            )
        if not self.insecure_public:
            raise AddressRefused(
                f"{address}: is open to other machines; give --tls-cert and --tls-key, or "
                "--insecure-public where something else keeps intruders out, or an address such "
                "as 127.0.0.1:50051"
            )

    def listen(self, server: grpc.aio.Server, address: str) -> int:
        """Open a port of `server` on `address`; the port, 1 for a socket of the file system.

        Raises AddressRefused as `check` does, AddressUnavailable where it cannot be opened.
        """
        self.check(address)
        try:
            return (
                server.add_insecure_port(address)
                if self.tls is None
                else server.add_secure_port(address, self.tls.credentials())
            )
        except RuntimeError as error:
            raise AddressUnavailable(
                f"{address}: in use, or not an address of this machine"
            ) from error

    def writers(self, address: str) -> Callable[[Iterable[tuple[str, str | bytes]]], bool]:
        """Who may write histories on `address`, by the metadata of a call.

        Who shows a token that has the right; where no tokens are asked for, everybody on this
        machine and nobody else.
        """
        if self.tokens is not None:
            return functools.partial(self.tokens.accepts_call, right=WRITE_HISTORIES)
        local = functools.cache(lambda: is_local(address))  # to be asked once it is listened on
        return lambda _: local()

    def interceptors(self, refused: Callable[[str], None]) -> list[grpc.aio.ServerInterceptor]:
        """What stands before every method of a server; gives `refused` the paths it refuses."""
        return [] if self.tokens is None else [TokenInterceptor(self.tokens, refused)]
