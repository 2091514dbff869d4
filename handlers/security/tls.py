"""TLS and mutual TLS, by files that may be replaced while the server runs."""

import ssl
from pathlib import Path
from typing import NamedTuple

import grpc

from anirank.client import pem
from anirank.errors import CredentialsError
from handlers.security.reloading import Reloading


class _Pem(NamedTuple):
    """What the files hold; nothing of gRPC, which may not be touched before a process forks."""

    certificate: bytes
    key: bytes
    authorities: bytes | None


class ServerTls:
    """A server's certificate, and the authority whose clients alone it lets in.

    A new connection is greeted with what the files hold then; files that cannot be used, such as a
    certificate whose key has not been replaced yet, leave what was read before in place.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        """Read PEM files: a chain with the server's own certificate first, its private key.

        With `client_ca`, PEM as well, a client must show a certificate from one of the authorities
        in it. Raises CredentialsError naming the file that cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        paths = (certificate, key, *([client_ca] if client_ca else []))
        self._files = Reloading(paths, self._read)

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is opened with."""
        self._current = self._files.current()
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._current),
            self._fetch,  # type: ignore[arg-type]  # None is documented, and not in the types
            require_client_authentication=self._client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """What a server that is not gRPC's opens a port with."""
        self._served = self._files.current(), self._context()
        self._served[1].sni_callback = self._renew
        return self._served[1]

    def _renew(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        # Called in every handshake, whether or not a name is asked for.
        found = self._files.current()
        if found is not self._served[0]:
            try:
                self._served = found, self._context()
            except (OSError, CredentialsError):  # replaced since; the next handshake finds out
                return
        connection.context = self._served[1]

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        pem.check_pair(context, self._certificate, self._key)
        if self._client_ca is not None:
            pem.check_authorities(context, self._client_ca, pem.read(self._client_ca))
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC before every handshake, from threads of its own; None: as before.
        found = self._files.current()
        if found is self._current:
            return None
        self._current = found
        return _configuration(found)

    def _read(self) -> _Pem:
        found = _Pem(
            pem.read(self._certificate),
            pem.read(self._key),
            pem.read(self._client_ca) if self._client_ca else None,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem.check_pair(context, self._certificate, self._key)
        if self._client_ca is not None and found.authorities is not None:
            pem.check_authorities(context, self._client_ca, found.authorities)
        return found


def _configuration(pem: _Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.authorities)
