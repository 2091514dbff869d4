"""Addresses to listen on and to call: HOST:PORT, or unix:PATH."""

import ipaddress
import socket
from typing import Any

from anirank.errors import AddressUnavailable

LOCAL_SOCKETS = ("unix:", "unix-abstract:")


def with_port(address: str, port: int) -> str:
    """Where a server answers that was to listen on `address` and got `port`."""
    return address if address.startswith(LOCAL_SOCKETS) else f"{address.rpartition(':')[0]}:{port}"


def is_local(address: str) -> bool:
    """Whether only this machine can reach `address`: HOST:PORT of loopback, or unix:PATH.

    A name is local where all that it stands for is. Raises AddressUnavailable where it is no
    address.
    """
    if address.startswith(LOCAL_SOCKETS):
        return True
    host, _ = host_and_port(address)
    if not host:
        return False  # all of this machine's addresses
    found = {str(entry[4][0]) for entry in resolve(address, host, 0)}
    return all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


def host_and_port(address: str) -> tuple[str, int]:
    """The host, without brackets, and the port of HOST:PORT; raises AddressUnavailable."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise AddressUnavailable(f"{address}: should be HOST:PORT, as in 127.0.0.1:50051")
    return host.removeprefix("[").removesuffix("]"), int(port)


def resolve(address: str, host: str, port: int) -> list[Any]:
    """What a host's name stands for, as `socket.getaddrinfo` says; raises AddressUnavailable."""
    try:
        return socket.getaddrinfo(host or None, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressUnavailable(f"{address}: nothing is known of {host!r}") from error
