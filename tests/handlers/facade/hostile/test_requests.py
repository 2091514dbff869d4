"""Requests that mean harm: each is refused by name, cheaply, and touches nobody else."""

import grpc
import pytest

from handlers.facade.capacity import METADATA_BYTES, METADATA_ENTRIES
from tests.handlers.facade.hostile.requests import (
    GOOD,
    HUGE,
    MIB,
    SERVICE,
    WRONG,
    ask,
    packed,
    peak,
    refused,
    serves,
)
from tests.handlers.facade.hostile.test_neighbours import told


@pytest.mark.parametrize(("method", "body", "field"), WRONG)
def test_what_is_wrong_is_refused_with_its_path(channel, method, body, field):
    assert refused(channel, method, body).field == field


@pytest.mark.parametrize(("method", "body", "field", "reason"), HUGE)
def test_a_multitude_of_entries_is_refused_by_its_number(channel, method, body, field, reason):
    violation = refused(channel, method, body)
    assert violation.field.startswith(field)
    assert reason in violation.description
    assert len(violation.field) + len(violation.description) < 400


def test_ten_million_candidates_are_refused_unread(channel):
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "Rank", packed(4, b"\x01" * 10_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert serves(channel)


@pytest.mark.slow
def test_a_message_that_unpacks_to_more_than_one_may_hold_is_refused(channel, facade):
    before = peak(facade)
    body = packed(9, b"v" * (256 * MIB))  # 250 KiB once compressed
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "Recommend", body, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak(facade) - before < 64 * MIB
    assert serves(channel)


def test_what_the_contract_does_not_know_changes_nothing(channel):
    unknown = packed(15, b"whatever" * 1_000) + b"\x78\x01"
    for method, body in GOOD:
        assert told(ask(channel, method, body + unknown)) == told(ask(channel, method, body))


@pytest.mark.parametrize(
    "name",
    [f"{SERVICE}/Rankle", f"{SERVICE}/", "/no.Service/Rank", "/", "/%00", f"/{'x' * 5_000}/y"],
)
def test_a_method_that_is_not_there_is_unimplemented(channel, name):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(name)(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-long", "y" * METADATA_BYTES)],
        [(f"x-many-{i}", "y") for i in range(1_000)],
        [("x-bin", b"\0" * METADATA_BYTES)],
    ],
    ids=["one", "many", "binary"],
)
def test_metadata_that_is_too_large_is_refused(channel, metadata):
    for _ in range(5):  # always, not by chance
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel, *GOOD[0], metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert serves(channel)


def test_metadata_of_too_many_entries_is_refused_by_their_number(channel):
    with pytest.raises(grpc.RpcError, match="metadata: more than 100 entries given") as caught:
        ask(channel, *GOOD[0], metadata=[("x", "y")] * METADATA_ENTRIES)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ask(channel, *GOOD[0], metadata=[("x", "y")] * (METADATA_ENTRIES - 10))
