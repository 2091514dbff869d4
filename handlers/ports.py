"""Ports kept for the processes that are to listen on them."""

import contextlib
import socket
from collections.abc import Iterator

from anirank.client.addresses import LOCAL_SOCKETS, host_and_port, resolve, with_port
from anirank.errors import AddressUnavailable


@contextlib.contextmanager
def reserve(address: str) -> Iterator[str]:
    """Keep a port for the processes that are to listen on it; the address with the port that it is.

    A socket that does not listen gets no calls, but keeps others of this machine from being given
    this port where they ask for any. Who sets SO_REUSEADDR, as servers do, may listen on it all the
    same; so may several who set SO_REUSEPORT. (Linux alone is as kind to those who do not set the
    second.) Raises AddressUnavailable where somebody else listens on it.
    """
    if address.startswith(LOCAL_SOCKETS):
        raise AddressUnavailable(f"{address}: cannot be shared by workers; give HOST:PORT")
    host, port = host_and_port(address)
    family, _, _, _, where = resolve(address, host, port)[0]
    with contextlib.ExitStack() as stack:
        try:
            if port:  # whether anybody listens, who may be one of several
                with socket.socket(family, socket.SOCK_STREAM) as asking:
                    asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    asking.bind(where)
            kept = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind(where)
        except OSError as error:
            raise AddressUnavailable(
                f"{address}: in use, or not an address of this machine"
            ) from error
        yield with_port(address, kept.getsockname()[1])
