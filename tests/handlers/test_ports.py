import errno
import os
import socket
import struct
import sys

import pytest

from handlers.ports import reserve

IP_LOCAL_PORT_RANGE = 51  # of Linux 6.3 and later; `socket` names it from Python 3.14 on


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("shared", [False, True], ids=["one listens", "several listen"])
def test_who_it_is_kept_for_may_listen_on_it_again_and_again(shared: bool) -> None:
    if not shared and sys.platform != "linux":
        pytest.skip("Linux alone lets one listen who does not share")
    with reserve("127.0.0.1:0") as address:
        for _ in range(2):
            where = ("127.0.0.1", port_of(address))
            with socket.create_server(where, reuse_port=shared):
                pass


def test_who_asks_for_any_port_is_not_given_it() -> None:
    with reserve("127.0.0.1:0") as address, socket.socket() as other:
        port = port_of(address)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:  # that one is all there is
            other.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("HH", port, port))
        except OSError:
            pytest.skip("this kernel has no range of ports for a socket")
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            other.bind(("127.0.0.1", 0))


def test_one_that_is_given_is_kept_as_it_is() -> None:
    with reserve("127.0.0.1:0") as address:
        pass
    with reserve(address) as kept:
        assert kept == address
