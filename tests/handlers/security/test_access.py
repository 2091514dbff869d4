import contextlib
import json
import os
import re
import subprocess
import sys

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import (
    BackendUnavailable,
    ServingError,
    Unauthenticated,
)
from tests.handlers.security.protected import (
    OTHER,
    TOKEN,
    channel_to,
    options_of,
    write_pair,
    write_tokens,
)


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
