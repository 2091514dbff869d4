import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from anirank.cli.app import main
from anirank.client.sync import Client
from anirank.client.tokens import client_token, read_tokens
from anirank.errors import (
    BackendUnavailable,
    CredentialsError,
    Unauthenticated,
)
from handlers.security.tls import ServerTls
from handlers.security.tokens import Tokens
from tests.handlers.security.protected import OTHER, TOKEN, options_of, write_pair, write_tokens


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--address", "0.0.0.0:0"), "0.0.0.0:0: is open to other machines"),
        (("--address", "[::]:0"), "[::]:0: is open to other machines"),
        (("--tls-cert", "c.pem"), "c.pem: --tls-cert and --tls-key go together"),
        (("--tls-cert", "c.pem", "--tls-key", "k.pem"), "c.pem: cannot be read"),
        (("--tls-client-ca", "a.pem"), "a.pem: --tls-client-ca needs"),
        (("--tokens", "t"), "t: cannot be read"),
    ],
)
def test_bad_protection_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, options, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")  # as the command does
    monkeypatch.setattr(sys, "argv", ["anirank", "serve", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert named in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--address", "[::]:0"), "is open to other machines"),
        (("--tokens", "t"), "t: cannot be read"),
    ],
)
def test_bad_protection_of_workers_is_one_line_and_exit_code_2(tmp_path, options, named):
    command = [sys.executable, "-m", "anirank", "serve", "--workers", "2", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert named in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_files_are_read_again_when_they_change(serving, written, tmp_path, workers):
    log = tmp_path / "log"
    with (
        serving(log, *options_of(written), "--workers", workers) as (address, _),
        Client(address, **written.shown, token=TOKEN) as before,
    ):
        before.rank([3])
        written.renew_server()
        with Client(address, **written.shown, token=TOKEN) as after:
            after.rank([3])
        before.rank([3])  # on the connection it has

        written.renew_callers()
        with (
            Client(address, **written.shown, token=TOKEN) as left_out,
            pytest.raises(BackendUnavailable),
        ):
            left_out.rank([3])
        write_pair(
            written.of_callers.issue_cert("caller@example.org"), written.mine, written.my_key
        )
        with Client(address, **written.shown, token=TOKEN) as let_in:
            let_in.rank([3])

            write_tokens(written.tokens, OTHER)  # the tokens, for connections that are open too
            with pytest.raises(Unauthenticated):
                let_in.rank([3])
        with Client(address, **written.shown, token=OTHER) as client:
            client.rank([3])


@pytest.mark.slow
def test_bad_new_files_leave_the_old_in_place_and_are_logged_once(serving, written, tmp_path):
    log = tmp_path / "log"

    def answered(address: str) -> None:
        for _ in range(2):  # connections of their own, each greeted anew
            with Client(address, **written.shown, token=TOKEN) as client:
                client.rank([3])

    def complaints(path: Path) -> int:
        said = log.read_text().splitlines()
        return sum(str(path) in line and "serves on" in line for line in said)

    with serving(log, *options_of(written)) as (address, _):
        written.certificate.write_bytes(b"junk")
        answered(address)
        assert complaints(written.certificate) == 1
        strange = trustme.CA().issue_cert("localhost")
        written.certificate.write_bytes(strange.cert_chain_pems[0].bytes())  # of another key
        answered(address)
        assert complaints(written.certificate) == 2
        write_tokens(written.tokens, "# nobody")
        answered(address)
        assert complaints(written.tokens) == 1
        write_tokens(written.tokens, TOKEN + "2").chmod(0o644)
        answered(address)
        assert complaints(written.tokens) == 2
        written.tokens.unlink()
        answered(address)
        assert complaints(written.tokens) == 3
        assert "-of-this-test-" not in log.read_text()


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (f"{TOKEN}\n", 0o644, "mode 0644, open to others"),
        (f"{TOKEN}\n", 0o640, "mode 0640, open to others"),
        ("", 0o600, "holds no token"),
        ("# none yet\n\n", 0o600, "holds no token"),
        (f"{TOKEN}\nshort\n", 0o600, "line 2: not a token"),
        (f"{TOKEN} {OTHER}\n", 0o600, "line 1: not a token"),
        ("題" * 20, 0o600, "line 1: not a token"),
        ("a" * 2_000_000, 0o600, "more than"),
    ],
)
def test_a_file_that_should_hold_tokens_and_does_not_is_refused(tmp_path, content, mode, message):
    path = tmp_path / "tokens"
    path.write_text(content)
    path.chmod(mode)
    for read in (read_tokens, Tokens, client_token):
        with pytest.raises(CredentialsError, match=message) as caught:
            read(path)
        assert not any(word in str(caught.value) for word in (TOKEN, OTHER, "short"))


def test_a_caller_has_one_token(tmp_path):
    path = write_tokens(tmp_path / "tokens", TOKEN, OTHER)
    with pytest.raises(CredentialsError, match="holds 2 tokens"):
        client_token(path)


def test_a_certificate_or_a_key_of_no_use_is_an_error_that_names_it(written, tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_bytes(b"\xff junk")
    shown = written.shown
    for certificate, key, authority, named in (
        (junk, written.key, None, junk),
        (written.certificate, junk, None, written.certificate),
        (written.certificate, written.my_key, None, written.my_key),
        (tmp_path / "absent", written.key, None, tmp_path / "absent"),
        (written.certificate, written.key, junk, junk),
        (written.certificate, written.key, written.key, written.key),
    ):
        with pytest.raises(CredentialsError, match=named.name):
            ServerTls(certificate, key, authority)
    for changed, named in (
        ({"ca": junk}, "junk"),
        ({"ca": None}, "without an authority"),
        ({"key": None}, "go together"),
        ({"key": written.key}, "key.pem"),
        ({"token": "x y"}, "the token: not a token"),
    ):
        with pytest.raises(CredentialsError, match=named):
            Client("127.0.0.1:1", **shown | changed)
