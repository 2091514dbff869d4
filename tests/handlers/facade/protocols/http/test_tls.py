"""HTTP over TLS: whom it answers, and whom it cuts off as it ends."""

import asyncio
import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest
import requests
import trustme
from starlette.applications import Starlette

from handlers.facade.calls.admission import Admission
from handlers.facade.protocols.http.gate import Gate
from handlers.facade.protocols.http.listening import HttpServer
from handlers.facade.telemetry.observer import Observer
from handlers.security.access import Security
from tests.handlers.facade.protocols.http.sockets import connected, read_all, status
from tests.running.in_process import answering


def with_tls(authority: trustme.CA, folder: Path) -> Security:
    pair = authority.issue_cert("127.0.0.1")
    (folder / "key").write_bytes(pair.private_key_pem.bytes())
    (folder / "cert").write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))
    return Security.from_files(certificate=folder / "cert", key=folder / "key")


def test_who_never_answers_the_close_of_tls_is_cut_off(toy, engine, tmp_path: Path) -> None:
    """By the server as it ends, and not when its memory is collected."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    security = with_tls(authority, tmp_path)
    urls: list[str] = []
    with contextlib.ExitStack() as stack:
        with answering(
            toy, engine, http="127.0.0.1:0", http_started=urls.append, security=security
        ):
            plain = stack.enter_context(connected(urls[0]))
            opened = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            stack.enter_context(opened)
            opened.sendall(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert status(opened.recv(65_536)) == 200
        under = stack.enter_context(socket.socket(fileno=os.dup(opened.fileno())))
        under.settimeout(1)
        read_all(under)  # comes to its end


def test_who_is_in_the_handshake_of_tls_is_cut_off(tmp_path: Path) -> None:
    async def left() -> bytes:
        security = with_tls(trustme.CA(), tmp_path)
        observer = Observer()
        app = Gate(Starlette(), {}, Admission(1, observer), observer, None)
        server = HttpServer(app, security, "127.0.0.1:0", 1_000, shared=False)
        await server.start()
        with connected(server.url) as opened:
            await asyncio.sleep(0.1)
            await server.stop(0)
            opened.setblocking(False)
            return opened.recv(1)

    assert not asyncio.run(left())


def test_tls_of_both_sides_is_that_of_grpc(serve, tmp_path: Path) -> None:
    authority, callers = trustme.CA(), trustme.CA()
    pair = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca", "callers", "mine")}
    files["key"].write_bytes(pair.private_key_pem.bytes())
    files["cert"].write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))
    authority.cert_pem.write_to_path(str(files["ca"]))
    callers.cert_pem.write_to_path(str(files["callers"]))
    mine = callers.issue_cert("caller@example.org")
    files["mine"].write_bytes(mine.private_key_and_cert_chain_pem.bytes())
    security = Security.from_files(
        certificate=files["cert"], key=files["key"], client_ca=files["callers"]
    )
    urls: list[str] = []
    serve(http="127.0.0.1:0", http_started=urls.append, security=security)
    assert urls[0].startswith("https://")
    ca = str(files["ca"])
    answer = requests.get(f"{urls[0]}/readyz", verify=ca, cert=str(files["mine"]), timeout=20)
    assert answer.status_code == 200
    with pytest.raises((requests.exceptions.ConnectionError, ssl.SSLError)):
        requests.get(f"{urls[0]}/readyz", verify=ca, timeout=20)

    renewed = trustme.CA()
    pair = renewed.issue_cert("127.0.0.1", "localhost")
    files["key"].write_bytes(pair.private_key_pem.bytes())
    files["cert"].write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))
    renewed.cert_pem.write_to_path(ca)
    answer = requests.get(f"{urls[0]}/readyz", verify=ca, cert=str(files["mine"]), timeout=20)
    assert answer.status_code == 200
