"""What a client connects with."""

import ssl
from pathlib import Path

import grpc

from anirank.client import pem
from anirank.errors import CredentialsError


def client_credentials(
    ca: Path, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """What a client connects with: the authorities it trusts, and what it shows where it is asked.

    PEM files all. Raises CredentialsError naming the file that cannot be used.
    """
    if (certificate is None) != (key is None):
        given = certificate or key
        raise CredentialsError(f"{given}: a certificate and its key go together; one is missing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = pem.read(ca)
    pem.check_authorities(context, ca, authorities)
    if certificate is None or key is None:
        return grpc.ssl_channel_credentials(authorities)
    pem.check_pair(context, certificate, key)
    return grpc.ssl_channel_credentials(authorities, pem.read(key), pem.read(certificate))
