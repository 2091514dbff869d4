"""The HTTP of whole programs: several that share a port, and their end."""

import re
import signal
import socket
import threading
from urllib.parse import urlsplit

import pytest
import requests

from tests.running.program import line_of, run_serve

pytestmark = pytest.mark.slow  # each test starts programs


def test_workers_share_the_port_of_http_as_well(store) -> None:
    with run_serve(store, "--workers", "2", "--http", "127.0.0.1:0") as (process, _, _):
        found = re.search(r"HTTP on (http://\S+)", line_of(process))
        assert found is not None
        for _ in range(8):  # each over a connection of its own
            item = {"candidate_ids": [3, 6]}
            answer = requests.post(f"{found[1]}/v1/rank", json=item, timeout=20)
            assert [each["anime_id"] for each in answer.json()["ranking"]] == [3, 6]


def test_what_is_on_its_way_ends_and_no_more_is_taken(store) -> None:
    with run_serve(store, "--http", "127.0.0.1:0", "--grace", "8") as (process, _, _):
        found = re.search(r"HTTP on (http://\S+)", line_of(process))
        assert found is not None
        where = urlsplit(found[1])
        body = b'{"candidate_ids":[3]}'
        with socket.create_connection((str(where.hostname), int(where.port or 0)), 20) as opened:
            opened.sendall(
                b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(body)
            )
            answer = requests.get(f"{found[1]}/readyz", timeout=20)
            assert answer.status_code == 200
            process.send_signal(signal.SIGTERM)
            threading.Event().wait(0.5)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"{found[1]}/readyz", timeout=20)
            opened.sendall(body)
            reply = b""
            while part := opened.recv(65_536):
                reply += part
        # Its message came after the end: told so, and not cut off.
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in reply
        assert b'"code":"UNAVAILABLE"' in reply
