"""A façade that asks for certificates and tokens, and the files of both."""

import contextlib
from pathlib import Path

import grpc
import trustme

TOKEN = "first-token-of-this-test-0123456789"
OTHER = "other-token-of-this-test-0123456789"


def write_pair(issued, certificate: Path, key: Path) -> None:
    key.write_bytes(issued.private_key_pem.bytes())
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


def write_tokens(path: Path, *tokens: str) -> Path:
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text("".join(f"{token}\n" for token in tokens))
    new.replace(path)
    return path


class Files:
    """What a server and its caller are started with; a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.callers = folder / "ca.pem", folder / "callers.pem"
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.mine, self.my_key = folder / "mine.pem", folder / "my_key.pem"
        self.tokens = write_tokens(folder / "tokens", "# who may call", "", TOKEN, OTHER)
        self.renew_server()
        self.renew_callers()
        write_pair(self.of_callers.issue_cert("caller@example.org"), self.mine, self.my_key)

    def renew_server(self) -> None:
        """A certificate of a new authority."""
        authority = trustme.CA()
        write_pair(authority.issue_cert("localhost", "127.0.0.1"), self.certificate, self.key)
        authority.cert_pem.write_to_path(str(self.ca))

    def renew_callers(self) -> None:
        """A new authority for callers."""
        self.of_callers = trustme.CA()
        self.of_callers.cert_pem.write_to_path(str(self.callers))

    @property
    def shown(self) -> dict[str, Path]:
        """What a caller whom the server lets in gives to Client."""
        return {"ca": self.ca, "certificate": self.mine, "key": self.my_key}


def options_of(files: Files) -> list[str | Path]:
    return [
        *("--tls-cert", files.certificate, "--tls-key", files.key),
        *("--tls-client-ca", files.callers, "--tokens", files.tokens),
    ]


@contextlib.contextmanager
def channel_to(address: str, files: Files):
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.my_key.read_bytes(), files.mine.read_bytes()
    )
    with grpc.secure_channel(address, credentials) as channel:
        yield channel
