"""Streams beside calls and beside each other: none takes what belongs to all."""

import asyncio

import grpc
import pytest

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from handlers.engine.query import Limits
from handlers.facade import capacity
from handlers.facade.calls import unread

# Of its own, and no more is taken in unread than the least that HTTP/2 has.
NARROW = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_535),
    ("grpc.max_receive_message_length", -1),
]
# Whose answer has some 180 KB: all that the catalogue does not know.
LONG = pb.RankRequest(candidate_ids=[3, *range(2**60, 2**60 + 20_000)])
LARGE = pb.RankRequest(candidate_ids=[3, 6, 9] * 500)


def large(place):
    return pb.RankStreamRequest(id=place, rank=LARGE)


def test_a_call_waits_for_one_request_of_a_stream_however_many_it_has(gated, monkeypatch):
    monkeypatch.setattr(capacity, "LARGE_OF_A_STREAM", 64)

    async def check(here):
        call = here.stub.RankStream(large(place) for place in range(40))
        await here.until_at_the_gate()
        mine = here.stub.Rank(pb.RankRequest(candidate_ids=[3] * 1_200))
        await asyncio.sleep(0.2)
        here.gate.open.set()
        await mine
        sizes = [len(query.candidate_ids) for batch in here.gate.batches for query in batch]
        call.cancel()
        return sizes.index(1_200)

    assert gated(check, Limits(streamed=40)) <= 4


def test_of_one_stream_few_large_requests_are_taken_up_at_once(gated):
    async def check(here):
        call = here.stub.RankStream(large(place) for place in range(20))
        await here.until_at_the_gate()
        taken_up = ["Stream._take_up" in repr(task) for task in asyncio.all_tasks()]
        here.gate.open.set()
        answers = [answer.id async for answer in call]
        assert sorted(answers) == list(range(20))
        return sum(taken_up)

    assert gated(check, Limits(streamed=40)) == capacity.LARGE_OF_A_STREAM


def test_a_stream_over_which_nothing_comes_ends_and_one_that_waits_for_answers_does_not(
    gated, monkeypatch
):
    monkeypatch.setattr(capacity, "IDLE_STREAM_S", 0.3)

    async def check(here):
        idle, busy = here.stub.RankStream(), here.stub.RankStream()
        await busy.write(large(1))
        async with asyncio.timeout(20):
            assert await idle.code() is grpc.StatusCode.UNAVAILABLE
            assert await idle.details() == "nothing came over the stream for 0.3 s"
            await asyncio.sleep(0.5)
            here.gate.open.set()
            assert (await busy.read()).HasField("reply")
            assert await busy.code() is grpc.StatusCode.UNAVAILABLE  # idle from then on

    gated(check, Limits())


def test_idle_streams_make_room_for_others(gated, monkeypatch):
    monkeypatch.setattr(capacity, "RANK_STREAMS", 8)
    monkeypatch.setattr(capacity, "ADDRESS_SHARE", 1)

    async def check(here):
        here.gate.open.set()
        idle = [here.stub.RankStream() for _ in range(8)]
        await asyncio.gather(*(call.wait_for_connection() for call in idle))
        await asyncio.sleep(0.2)
        call = here.stub.RankStream(iter([large(7)]))
        assert [answer.id async for answer in call] == [7]
        [ended] = [each for each in idle if each.done()]
        assert await ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    gated(check, Limits())


def test_answers_that_nobody_reads_are_refused_beyond_a_share(gated, monkeypatch):
    monkeypatch.setattr(unread, "OF_A_CONNECTION", 1 << 20)
    monkeypatch.setattr(capacity, "LARGE_OF_A_STREAM", 64)

    async def check(here):
        here.gate.open.set()
        async with grpc.aio.insecure_channel(here.address, options=NARROW) as channel:
            stub = RankingServiceStub(channel)
            requests = [pb.RankStreamRequest(id=place, rank=LONG) for place in range(20)]
            stream = stub.RankStream(iter(requests))
            await stream.wait_for_connection()
            while here.arrived < 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            with pytest.raises(grpc.RpcError, match="earlier answers have not been read"):
                await stub.Rank(LONG)
            assert (await here.stub.Rank(LONG)).ranking  # whose connection has its own share
            answers = [answer async for answer in stream]
            refused = [answer for answer in answers if answer.HasField("status")]
            assert 0 < len(refused) < 20
            assert refused[0].status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            assert (await stub.Rank(LONG)).ranking  # all has been read

    gated(check, Limits())


async def read_to_the_end(call):
    while await call.read() is not grpc.aio.EOF:
        pass


def test_a_stream_whose_answers_nobody_reads_ends(gated, monkeypatch):
    monkeypatch.setattr(capacity, "UNREAD_STREAM_S", 0.3)

    async def check(here):
        here.gate.open.set()
        async with grpc.aio.insecure_channel(here.address, options=NARROW) as channel:
            requests = [pb.RankStreamRequest(id=place, rank=LONG) for place in range(20)]
            call = RankingServiceStub(channel).RankStream(iter(requests))
            await call.wait_for_connection()
            while not here.arrived or any("Stream._" in repr(e) for e in asyncio.all_tasks()):
                await asyncio.sleep(0.01)
            with pytest.raises(grpc.RpcError, match=r"no answer has been read for 0.3 s"):
                await read_to_the_end(call)

    gated(check, Limits())
