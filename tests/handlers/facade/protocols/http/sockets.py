"""HTTP as it is written to a socket, for what no client of HTTP would send."""

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as opened:
        yield opened


def read_all(opened: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := opened.recv(65_536):
            found += part
    return found


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])
