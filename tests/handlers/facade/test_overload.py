"""Calls to a real port while what computes is busy: what is refused, what leaves, what waits."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from handlers.engine.query import Limits
from tests.handlers.facade.calls.test_admission import OWN_CONNECTION
from tests.handlers.facade.calls.test_streams import LONG

REQUEST = pb.RecommendRequest(top_k=1)


def code(error):
    return error.code() if isinstance(error, grpc.RpcError) else None


async def outcomes(calls):
    return [code(outcome) for outcome in await asyncio.gather(*calls, return_exceptions=True)]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(gated):
    async def check(here):
        calls = [here.stub.Recommend(REQUEST) for _ in range(100)]
        # Nothing has been computed yet, and only who has a place still waits.
        while sum(call.done() for call in calls) < 100 - 1 - 8:
            await asyncio.sleep(0.01)
        refused = [call for call in calls if call.done()]
        here.gate.open.set()
        assert await outcomes(refused) == [grpc.StatusCode.RESOURCE_EXHAUSTED] * len(refused)
        assert (await outcomes(calls)).count(None) == 1 + 8
        for call in refused:
            trailing = await call.trailing_metadata()
            [said] = [value for key, value in trailing if key == "grpc-status-details-bin"]
            [detail] = status_pb2.Status.FromString(said).details
            retry = error_details_pb2.RetryInfo()
            assert detail.Unpack(retry)
            assert retry.retry_delay.ToNanoseconds() > 0

    gated(check, Limits(queued=8))


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_who_leaves_or_is_late_is_not_computed_and_leaves_the_place_to_others(gated, how):
    async def check(here):
        first = here.stub.Recommend(REQUEST)
        await here.until_at_the_gate()
        timeout = 0.2 if how == "late" else None
        gone = [here.stub.Recommend(REQUEST, timeout=timeout) for _ in range(8)]
        while here.version.batcher.waiting < 8:
            await asyncio.sleep(0.01)
        if how == "cancelled":
            for call in gone:
                call.cancel()
        expected = grpc.StatusCode.DEADLINE_EXCEEDED if how == "late" else None
        assert await outcomes(gone) == [expected] * 8
        while here.version.batcher.waiting:
            await asyncio.sleep(0.01)
        others = [here.stub.Recommend(REQUEST) for _ in range(8)]
        while here.version.batcher.waiting < 8:
            await asyncio.sleep(0.01)
        here.gate.open.set()
        assert await outcomes([first, *others]) == [None] * 9
        assert here.arrived == 9

    gated(check, Limits(queued=8))


def test_who_is_late_while_the_batch_is_computed_is_told_so_and_its_neighbours_are_answered(gated):
    async def check(here):
        first = here.stub.Recommend(REQUEST)
        await here.until_at_the_gate()
        late, other = here.stub.Recommend(REQUEST, timeout=0.5), here.stub.Recommend(REQUEST)
        while here.version.batcher.waiting < 2:
            await asyncio.sleep(0.01)
        release = here.gate.open
        here.gate.open = asyncio.Event()  # for the second batch
        release.set()
        assert (await first).ranking
        while here.arrived < 3:
            await asyncio.sleep(0.01)
        assert await outcomes([late]) == [grpc.StatusCode.DEADLINE_EXCEEDED]
        here.gate.open.set()
        assert (await other).ranking

    gated(check, Limits())


def test_the_time_that_a_call_has_left_goes_on_to_what_computes(gated):
    async def check(here):
        here.gate.open.set()
        await here.stub.Recommend(REQUEST, timeout=60)
        await here.stub.Recommend(REQUEST)
        assert 50 < here.gate.timeouts[0] <= 61
        assert here.gate.timeouts[1] is None

    gated(check, Limits())


def test_a_flood_of_large_calls_leaves_places_for_small_ones(gated, world):
    async def check(here):
        ids = [int(anime) for anime in world.anime_id] * 20  # above a quarter of a batch
        large = pb.RankRequest(candidate_ids=ids)
        flood = [here.stub.Rank(large) for _ in range(40)]
        await here.until_at_the_gate()
        small = [here.stub.Rank(pb.RankRequest(candidate_ids=ids[:3])) for _ in range(4)]
        while here.version.batcher.waiting < 8:
            await asyncio.sleep(0.01)
        here.gate.open.set()
        assert await outcomes(small) == [None] * 4
        refused = [each for each in await outcomes(flood) if each is not None]
        assert set(refused) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(refused) == 40 - 1 - 4
        # The small ones went next but one at the latest.
        sizes = [{len(query.candidate_ids) for query in batch} for batch in here.gate.batches]
        assert sizes.index({3}) <= 2

    gated(check, Limits(queued=8))


def test_a_small_call_waits_for_few_of_the_large_ones_that_came_before_it(gated):
    async def check(here):
        here.gate.open.set()
        flood = [here.stub.Rank(LONG) for _ in range(60)]
        async with grpc.aio.insecure_channel(here.address, options=OWN_CONNECTION) as channel:
            await channel.channel_ready()
            while not here.arrived:
                await asyncio.sleep(0)
            small = RankingServiceStub(channel).Rank(pb.RankRequest(candidate_ids=[3]))
            assert (await small).ranking
        before = here.arrived
        assert await outcomes(flood) == [None] * 60
        return before

    assert gated(check, Limits()) < 30
