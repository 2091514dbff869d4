"""A port that several processes are to share, kept for them."""

import contextlib
import socket
from collections.abc import Iterator

from anirank.client.addresses import LOCAL_SOCKETS, host_and_port, resolve, with_port
from anirank.errors import AddressUnavailable


@contextlib.contextmanager
def reserve(address: str) -> Iterator[str]:
    """Keep a port for the processes that are to share it; the address with the port that it is.

    A socket that does not listen gets no calls, but keeps others of this machine from taking port 0
    to be that one. Raises AddressUnavailable where somebody else listens on it.
    """
    if address.startswith(LOCAL_SOCKETS):
        raise AddressUnavailable(f"{address}: cannot be shared by workers; give HOST:PORT")
    host, port = host_and_port(address)
    family, _, _, _, where = resolve(address, host, port)[0]
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
        yield with_port(address, where[1])
