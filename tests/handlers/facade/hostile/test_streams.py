import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from anirank.contract import ranking_pb2 as pb
from handlers.facade.capacity import RANK_STREAMS
from tests.handlers.facade.hostile.requests import (
    GOOD,
    HUGE,
    MIB,
    SERVICE,
    UNLIMITED,
    WRONG,
    ask,
    packed,
    peak,
    refused,
    serves,
)
from tests.handlers.facade.hostile.test_neighbours import told
from tests.running.calls import status_of_call


def of_stream(number: int, method: str, body: bytes) -> bytes:
    """A RankStreamRequest around a request's bytes."""
    return b"\x08" + bytes([number]) + packed(2 if method == "Rank" else 3, body)


async def stream(address: str, sent: list[bytes]) -> list[pb.RankStreamReply]:
    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:
        rank_stream: Any = channel.stream_stream(f"{SERVICE}/RankStream")
        call = rank_stream(iter(sent), timeout=120)
        return [pb.RankStreamReply.FromString(reply) async for reply in call]


@pytest.mark.slow
def test_a_bad_request_on_a_stream_does_not_touch_its_neighbours(channel, facade):
    alone = [told(ask(channel, method, body)) for method, body in GOOD]
    every = [(method, body) for method, body, _ in WRONG]
    every += [(method, body) for method, body, *_ in HUGE]
    bad = [each for each in every if each[0] != "GetModelInfo"]
    bad = [each for each in bad if refused(channel, *each).field != "request"]
    sent = [each for pair in zip(itertools.cycle(GOOD), bad, strict=False) for each in pair]
    before = peak(facade)
    replies = asyncio.run(
        stream(facade.address, [of_stream(place, *each) for place, each in enumerate(sent)])
    )
    assert sorted(reply.id for reply in replies) == list(range(len(sent)))
    for reply in replies:
        if reply.id % 2 == 0:
            answer = told(reply.reply.SerializeToString())
            assert answer == alone[reply.id // 2 % len(GOOD)]
        else:
            assert reply.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert peak(facade) - before < 1_000 * MIB


def test_streams_that_make_room_are_told_when_to_come_back(channel, facade):
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait(60)
        yield from ()

    open_stream = channel.stream_stream(f"{SERVICE}/RankStream")
    calls = [open_stream(nothing(), timeout=60) for _ in range(RANK_STREAMS)]
    try:
        [answer] = asyncio.run(stream(facade.address, [of_stream(7, *GOOD[0])]))
        assert answer.id == 7
        ended = [call for call in calls if call.done()]
        assert len(ended) > RANK_STREAMS // 2  # one address has half of the places
        for call in ended:
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            [detail] = status_of_call(call).details
            assert detail.Unpack(error_details_pb2.RetryInfo())
        assert serves(channel)
    finally:
        done.set()


@pytest.mark.slow
def test_who_does_not_read_the_answers_takes_no_more_than_a_place(channel, facade):
    """Each sends for as long as the server takes it, and reads nothing."""
    before = peak(facade)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            other = stack.enter_context(grpc.insecure_channel(facade.address, options=UNLIMITED))
            endless = (of_stream(place % 100, *GOOD[4]) for place in range(100_000))
            rank_stream: Any = other.stream_stream(f"{SERVICE}/RankStream")
            stack.callback(rank_stream(endless, timeout=60).cancel)
        for _ in range(20):
            assert serves(channel)
            threading.Event().wait(0.05)
    assert peak(facade) - before < 200 * MIB
    assert serves(channel)
