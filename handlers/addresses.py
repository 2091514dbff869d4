"""Addresses to listen on: HOST:PORT, or unix:PATH."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

from handlers.errors import AddressUnavailable

_LOCAL_SOCKETS = ("unix:", "unix-abstract:")


def opened(address: str, port: int) -> str:
    """Where a server answers that was to listen on `address` and got `port`."""
    return address if address.startswith(_LOCAL_SOCKETS) else f"{address.rpartition(':')[0]}:{port}"


def is_local(address: str) -> bool:
    """Whether only this machine can reach `address`: HOST:PORT of loopback, or unix:PATH.

    A name is local where all that it stands for is. Raises AddressUnavailable where it is no
    address.
    """
    if address.startswith(_LOCAL_SOCKETS):
        return True
    host, _ = parted(address)
    if not host:
        return False  # all of this machine's addresses
    found = {str(entry[4][0]) for entry in _found(address, host, 0)}
    return all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


@contextlib.contextmanager
def reserve(address: str) -> Iterator[str]:
    """Keep a port for the processes that are to share it; the address with the port that it is.

    A socket that does not listen gets no calls, but keeps others of this machine from taking port 0
    to be that one. Raises AddressUnavailable where somebody else listens on it.
    """
    if address.startswith(_LOCAL_SOCKETS):
        raise AddressUnavailable(f"{address}: cannot be shared by workers; give HOST:PORT")
    host, port = parted(address)
    family, _, _, _, where = _found(address, host, port)[0]
    with contextlib.ExitStack() as stack:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as asking:  # whether anybody listens
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                asking.bind(where)
                where = asking.getsockname()
            kept = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind(where)
        except OSError as error:
            raise AddressUnavailable(
                f"{address}: in use, or not an address of this machine"
            ) from error
        yield opened(address, where[1])


def parted(address: str) -> tuple[str, int]:
    """The host, without brackets, and the port of HOST:PORT; raises AddressUnavailable."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise AddressUnavailable(f"{address}: should be HOST:PORT, as in 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _found(address: str, host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host or None, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressUnavailable(f"{address}: nothing is known of {host!r}") from error
