"""PEM files, read and checked before gRPC gets them."""

import ssl
from pathlib import Path

from anirank.errors import CredentialsError


def read(path: Path) -> bytes:
    """What a file holds. Raises CredentialsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read ({error.strerror})") from error


def check_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Raise CredentialsError unless `key` is that of the certificate, and without a passphrase."""
    # gRPC would take any bytes, and fail at each handshake without saying why.
    try:
        context.load_cert_chain(certificate, key, password="")  # a question would wait for ever
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CredentialsError(
            f"{certificate}: should be PEM of a certificate whose key, without a passphrase, is in "
            f"{key} ({_reason(error)})"
        ) from error


def check_authorities(context: ssl.SSLContext, path: Path, content: bytes) -> None:
    """Raise CredentialsError unless `content`, of the file `path`, holds certificates."""
    try:
        context.load_verify_locations(cadata=content.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CredentialsError(
            f"{path}: should be PEM of the certificates of authorities ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or "not PEM"
