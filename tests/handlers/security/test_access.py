import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import requests
import trustme
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from anirank.cli.app import main
from anirank.client.addresses import with_port
from anirank.client.sync import Client
from anirank.client.tokens import client_token, read_tokens
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import (
    AddressRefused,
    AddressUnavailable,
    BackendUnavailable,
    CredentialsError,
    Forbidden,
    ServingError,
    Unauthenticated,
)
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store
from handlers.security.access import Security
from handlers.security.tls import ServerTls
from handlers.security.tokens import Tokens

TOKEN = "first-token-of-this-test-0123456789"
OTHER = "other-token-of-this-test-0123456789"
PUBLIC = ["0.0.0.0:50051", "[::]:50051", ":50051", "192.0.2.7:50051", "[2001:db8::7]:1", "0:1"]
LOCAL = ["127.0.0.1:50051", "localhost:0", "[::1]:50051", "127.0.0.2:1", "unix:/tmp/x.sock"]


def write_pair(issued, certificate: Path, key: Path) -> None:
    key.write_bytes(issued.private_key_pem.bytes())
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


def write_tokens(path: Path, *tokens: str) -> Path:
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text("".join(f"{token}\n" for token in tokens))
    new.replace(path)
    return path


class Files:
    """What a server and its caller are started with; a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.callers = folder / "ca.pem", folder / "callers.pem"
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.mine, self.my_key = folder / "mine.pem", folder / "my_key.pem"
        self.tokens = write_tokens(folder / "tokens", "# who may call", "", TOKEN, OTHER)
        self.renew_server()
        self.renew_callers()
        write_pair(self.of_callers.issue_cert("caller@example.org"), self.mine, self.my_key)

    def renew_server(self) -> None:
        """A certificate of a new authority."""
        authority = trustme.CA()
        write_pair(authority.issue_cert("localhost", "127.0.0.1"), self.certificate, self.key)
        authority.cert_pem.write_to_path(str(self.ca))

    def renew_callers(self) -> None:
        """A new authority for callers."""
        self.of_callers = trustme.CA()
        self.of_callers.cert_pem.write_to_path(str(self.callers))

    @property
    def shown(self) -> dict[str, Path]:
        """What a caller whom the server lets in gives to Client."""
        return {"ca": self.ca, "certificate": self.mine, "key": self.my_key}


@pytest.fixture
def written(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def address(serving, files, tmp_path_factory):
    """A façade with mutual TLS and tokens, whose files stay."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    with serving(log, *options_of(files)) as facade:
        yield facade.address


def options_of(files: Files) -> list[str | Path]:
    return [
        *("--tls-cert", files.certificate, "--tls-key", files.key),
        *("--tls-client-ca", files.callers, "--tokens", files.tokens),
    ]


@contextlib.contextmanager
def channel_to(address: str, files: Files):
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.my_key.read_bytes(), files.mine.read_bytes()
    )
    with grpc.secure_channel(address, credentials) as channel:
        yield channel


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


def test_who_shows_a_certificate_and_a_token_is_answered(address, files):
    for token in (TOKEN, OTHER):
        with Client(address, **files.shown, token=token) as client:
            assert len(client.rank([3, 6]).ranking) == 2
            assert client.model_info().name == "toy"
            [(_, reply)] = client.stream([pb.RankRequest(candidate_ids=[3, 6])])
            assert isinstance(reply, pb.RankReply)
            assert len(reply.ranking) == 2


def test_who_shows_no_certificate_or_another_authoritys_is_not_let_in(address, files, tmp_path):
    stranger = trustme.CA().issue_cert("caller@example.org")
    write_pair(stranger, tmp_path / "c.pem", tmp_path / "k.pem")
    for shown in ({}, {"certificate": tmp_path / "c.pem", "key": tmp_path / "k.pem"}):
        with (
            Client(address, ca=files.ca, token=TOKEN, **shown) as client,
            pytest.raises(BackendUnavailable),
        ):
            client.rank([3])


def test_a_caller_does_not_talk_to_a_server_it_cannot_tell(address, files, tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    with (
        Client(address, **files.shown | {"ca": tmp_path / "another.pem"}) as client,
        pytest.raises(BackendUnavailable),
    ):
        client.rank([3])
    with Client(address) as client, pytest.raises(BackendUnavailable):  # without TLS
        client.rank([3])


SHOWN_AMISS = [
    None,
    [("authorization", f"Bearer {TOKEN}x")],
    [("authorization", f"Bearer {TOKEN[:-1]}")],
    [("authorization", "Bearer ")],
    [("authorization", TOKEN)],
    [("authorization", f"Basic {TOKEN}")],
    [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
    [("token", f"Bearer {TOKEN}")],
    [("authorization-bin", f"Bearer {TOKEN}".encode())],
]


@pytest.mark.parametrize("metadata", SHOWN_AMISS)
def test_without_a_known_token_no_method_answers_but_health_checks(address, files, metadata):
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    with channel_to(address, files) as channel:
        ranking, health = RankingServiceStub(channel), HealthStub(channel)
        for call in (
            lambda: ranking.Rank(pb.RankRequest(candidate_ids=[3]), metadata=metadata),
            lambda: ranking.Recommend(pb.RecommendRequest(), metadata=metadata),
            lambda: ranking.GetModelInfo(pb.GetModelInfoRequest(), metadata=metadata),
            lambda: list(ranking.RankStream(iter([]), metadata=metadata)),
            lambda: list(
                ServerReflectionStub(channel).ServerReflectionInfo(iter(asked), metadata=metadata)
            ),
            lambda: list(health.Watch(health_pb2.HealthCheckRequest(), metadata=metadata)),
            lambda: channel.unary_unary("/no.such.Service/Method")(b"", metadata=metadata),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        reply = health.Check(health_pb2.HealthCheckRequest(), metadata=metadata)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.slow
def test_tokens_alone_guard_this_machines_own_address(serving, written, tmp_path):
    with serving(tmp_path / "log", "--tokens", written.tokens) as (address, _):
        with Client(address, token=TOKEN) as client:
            assert client.model_info().name == "toy"
        with Client(address) as client:
            with pytest.raises(Unauthenticated):
                client.model_info()
            with pytest.raises(Unauthenticated):
                list(client.stream([pb.RankRequest(candidate_ids=[3])]))


def test_the_schemes_case_is_the_callers(address, files):
    with channel_to(address, files) as channel:
        for scheme in ("bearer", "BEARER"):
            metadata = [("authorization", f"{scheme} {TOKEN}")]
            info = RankingServiceStub(channel).GetModelInfo(
                pb.GetModelInfoRequest(), metadata=metadata
            )
            assert info.name == "toy"


@pytest.mark.slow
def test_the_command_line_takes_the_token_from_a_file_or_the_environment(address, files, tmp_path):
    command = [sys.executable, "-m", "anirank", "rank", "--address", address, "--user", "10"]
    command += ["--tls-ca", str(files.ca), "--tls-cert", str(files.mine)]
    command += ["--tls-key", str(files.my_key)]
    held = write_tokens(tmp_path / "token", TOKEN)
    for options, environment, code in (
        (["--token-file", str(held)], {}, 0),
        ([], {"ANIRANK_TOKEN": TOKEN}, 0),
        ([], {}, 2),
        ([], {"ANIRANK_TOKEN": "short"}, 2),
    ):
        done = subprocess.run(
            [*command, *options],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert not {TOKEN, "short"} & set(re.findall(r"[\w-]+", done.stderr))


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


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["embedded", "torchserve"])
def test_nothing_secret_is_written_at_the_lowest_level(serving, written, tmp_path, backend):
    secrets = {TOKEN, OTHER, "a-token-that-nobody-knows-012345"}
    for key in (written.key, written.my_key):
        secrets |= {line for line in key.read_text().splitlines() if "-----" not in line}
    theirs = {kind: {"key": f"{kind}-key-of-a-torchserve"} for kind in ("inference", "management")}
    secrets |= {entry["key"] for entry in theirs.values()}
    (tmp_path / "key_file.json").write_text(json.dumps(theirs))
    options = ["--log-level", "debug", "--backend", backend]
    if backend == "torchserve":  # one that is gone
        options += ["--torchserve", "127.0.0.1:1", "--keys", str(tmp_path / "key_file.json")]
    log = tmp_path / "log"
    with serving(log, *options_of(written), *options, GRPC_VERBOSITY="debug") as (address, _):
        shown = written.shown
        for token in (TOKEN, "a-token-that-nobody-knows-012345", None):
            with Client(address, **shown, token=token) as client:
                for ask in (client.recommend, client.model_info, lambda: client.rank([])):
                    with contextlib.suppress(ServingError):
                        ask()
        with channel_to(address, written) as channel, contextlib.suppress(grpc.RpcError):
            metadata = [("authorization", f"Bearer {TOKEN}"), ("x-long", TOKEN * 1_000)]
            RankingServiceStub(channel).GetModelInfo(pb.GetModelInfoRequest(), metadata=metadata)
        with (
            Client(address, ca=written.ca, token=TOKEN) as client,
            contextlib.suppress(ServingError),  # it shows no certificate
        ):
            client.model_info()
        written.certificate.write_bytes(written.key.read_bytes())  # mixed up
        write_tokens(written.tokens, TOKEN, f"{OTHER} with a remark")
        with (
            Client(address, **shown, token=TOKEN) as client,
            contextlib.suppress(ServingError),
        ):
            client.model_info()
    said = log.read_text()
    assert "serves on" in said
    assert [secret for secret in secrets if secret in said] == []


def test_who_may_write_histories_is_said_by_their_token(serve, tmp_path):
    tokens = write_tokens(tmp_path / "tokens", TOKEN, f"{OTHER}  write-histories")
    histories = Histories(open_store(str(tmp_path / "histories"), 1))
    urls: list[str] = []
    address = serve(
        security=Security.from_files(tokens=tokens),
        histories=histories,
        http="127.0.0.1:0",
        http_started=urls.append,
    )
    for token, status in ((TOKEN, 403), (OTHER, 200), ("nobody's", 401)):
        answer = requests.post(
            f"{urls[0]}/v1/forget",
            json={"user_id": 8},
            headers={"authorization": f"Bearer {token}"},
            timeout=30,
        )
        assert answer.status_code == status
    with Client(address, token=TOKEN) as reader, Client(address, token=OTHER) as writer:
        writer.record_watched(7, {3: 9})
        assert len(reader.get_history(7).items) == 1
        for write in (lambda: reader.record_watched(7, {6: 9}), lambda: reader.forget(7)):
            with pytest.raises(Forbidden, match="has not the right write-histories"):
                write()
        write_tokens(tokens, f"{TOKEN} write-histories", OTHER)
        assert reader.record_watched(7, {6: 9}).recorded == 2
        with pytest.raises(Forbidden):
            writer.forget(7)


def test_without_tokens_those_on_this_machine_may_write_and_nobody_elsewhere() -> None:
    assert all(Security().writers(address)(()) for address in LOCAL)
    assert not any(Security().writers(address)(()) for address in PUBLIC)


def test_a_right_that_there_is_not_is_refused_without_a_word_of_what_stands_there(tmp_path) -> None:
    tokens = write_tokens(tmp_path / "tokens", f"{TOKEN} write-history")
    with pytest.raises(CredentialsError, match=r"line 1: .* may be write-histories") as caught:
        read_tokens(tokens)
    assert "write-history" not in str(caught.value)
    assert TOKEN not in str(caught.value)
