import re

import pytest

from anirank.client.addresses import with_port
from anirank.client.sync import Client
from anirank.errors import (
    AddressRefused,
    AddressUnavailable,
    CredentialsError,
)
from handlers.security.access import Security
from handlers.security.tls import ServerTls
from handlers.security.tokens import Tokens
from tests.handlers.security.protected import TOKEN

PUBLIC = ["0.0.0.0:50051", "[::]:50051", ":50051", "192.0.2.7:50051", "[2001:db8::7]:1", "0:1"]
LOCAL = ["127.0.0.1:50051", "localhost:0", "[::1]:50051", "127.0.0.2:1", "unix:/tmp/x.sock"]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_open_to_other_machines_is_refused_without_tls(address, written):
    with pytest.raises(AddressRefused, match=f"^{re.escape(address)}: is open to other machines"):
        Security().check(address)
    Security(insecure_public=True).check(address)
    Security.from_files(certificate=written.certificate, key=written.key).check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_tokens_never_cross_the_network_unencrypted(address, written):
    with pytest.raises(AddressRefused, match="unencrypted"):
        Security(tokens=Tokens(written.tokens), insecure_public=True).check(address)
    Security(ServerTls(written.certificate, written.key), Tokens(written.tokens)).check(address)
    with pytest.raises(CredentialsError, match="unencrypted"):
        Client(address, token=TOKEN)


@pytest.mark.parametrize("address", LOCAL)
def test_an_address_of_this_machine_alone_needs_no_protection(address):
    Security().check(address)


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:http", "127.0.0.1:65536", "dns:///0.0.0.0:1", "::::x"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(AddressUnavailable, match=re.escape(address)):
        Security().check(address)


@pytest.mark.slow
def test_a_socket_of_the_file_system_is_served_on(serving, tmp_path):
    place = f"unix:{tmp_path / 'facade.sock'}"
    with serving(tmp_path / "log", "--address", place) as facade:
        assert facade.address == place == with_port(place, 1)
        with Client(place) as client:
            assert len(client.rank([3]).ranking) == 1
