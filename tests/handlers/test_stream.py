import asyncio
import itertools

import grpc
import pytest
from anime.ranking.v1 import ranking_pb2 as pb
from anime.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from google.protobuf.duration_pb2 import Duration

from handlers.backends import EmbeddedBackend
from handlers.client import RankingClient
from handlers.errors import InvalidQuery
from handlers.query import Limits, Query
from handlers.service import RankingService
from handlers.versions import Roster, ServedVersion

STREAMED = 8


class Gate:
    """A real backend behind a gate that the test opens; counts what passes."""

    name = "gate"
    in_flight = 1
    largest_batch = 4_000

    def __init__(self, engine):
        self.backend, self.open, self.arrived = EmbeddedBackend(engine), asyncio.Event(), []
        self.open.set()

    async def rank(self, queries, timeout_s=None):
        self.arrived += queries
        await self.open.wait()
        return await self.backend.rank(queries, timeout_s)

    async def ready(self):
        return True

    async def close(self):
        await self.backend.close()


class Served:
    """A service on a real port of this loop, its gate, and a stub to call it with."""

    def __init__(self, engine, limits):
        self.gate = Gate(engine)
        roster = Roster(ServedVersion(engine.bundle, self.gate, limits))
        self.service = RankingService(roster, limits)
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.channel = grpc.aio.insecure_channel(self.address)
        self.stub = RankingServiceStub(self.channel)

    async def until_taken_up(self, count):
        """Wait until the gate has seen so many requests, and a little for those it should not."""
        while len(self.gate.arrived) < count:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return len(self.gate.arrived)

    async def until_streams_ended(self):
        while any("Stream._" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)


def served(engine, check, limits=None):
    async def run():
        here = Served(engine, limits or Limits(streamed=STREAMED))
        await here.server.start()
        try:
            return await check(here)
        finally:
            await here.channel.close()
            await here.server.stop(None)
            await here.gate.close()

    return asyncio.run(run())


def recommend(place, user=None, **more):
    request = pb.RecommendRequest(user_id=user, top_k=3)
    return pb.RankStreamRequest(id=place, recommend=request, **more)


def ids(reply):
    return [entry.anime_id for entry in reply.ranking]


def test_thousands_are_answered_each_with_their_own(toy, engine, world):
    users = [user % 410 for user in range(3_000)]

    def ask(address):
        with RankingClient(address) as client:
            requests = (pb.RecommendRequest(user_id=user, top_k=3) for user in users)
            return dict(client.stream(requests))

    async def check(here):
        return await asyncio.to_thread(ask, here.address)

    answers = served(engine, check)
    assert sorted(answers) == list(range(3_000))
    expected = {
        user: world.rank(Query(user_id=user, top_k=3)).anime_ids.tolist() for user in set(users)
    }
    assert all(ids(answers[place]) == expected[user] for place, user in enumerate(users))


def test_a_request_that_cannot_be_answered_fails_in_its_place_and_the_stream_goes_on(engine):
    requests = [
        pb.RankRequest(candidate_ids=[3, 6]),
        pb.RankRequest(),
        pb.RecommendRequest(model_version="none"),
        pb.RecommendRequest(top_k=2),
    ]

    def ask(address):
        with RankingClient(address) as client:
            return dict(client.stream(requests))

    async def check(here):
        return await asyncio.to_thread(ask, here.address)

    answers = served(engine, check)
    assert len(answers[0].ranking) == len(answers[3].ranking) == 2
    assert isinstance(answers[1], InvalidQuery)
    assert (answers[1].field, answers[2].field) == ("candidate_ids", "model_version")


def test_a_stream_fails_as_the_call_of_its_own_would_have(engine):
    bad = pb.RankRequest(candidate_ids=[3], objective=9)

    async def check(here):
        call = here.stub.RankStream(iter([pb.RankStreamRequest(id=7, rank=bad)]))
        [answer] = [answer async for answer in call]
        with pytest.raises(grpc.RpcError) as caught:
            await here.stub.Rank(bad)
        [detail] = [value for key, value in caught.value.trailing_metadata() if "details" in key]
        assert answer.id == 7
        assert answer.status.SerializeToString() == detail

    served(engine, check)


def test_a_request_of_neither_kind_is_named(engine):
    async def check(here):
        call = here.stub.RankStream(iter([pb.RankStreamRequest(id=1)]))
        [answer] = [answer async for answer in call]
        assert answer.status.message.startswith("request: none given, should be one of rank")

    served(engine, check)


def test_bytes_that_are_no_request_end_the_stream_after_what_was_taken_up(engine):
    async def check(here):
        method = f"/{pb.DESCRIPTOR.package}.RankingService/RankStream"
        call = here.channel.stream_stream(method)(iter([recommend(1).SerializeToString(), b"\xff"]))
        answer = pb.RankStreamReply.FromString(await call.read())
        assert answer.HasField("reply")
        with pytest.raises(grpc.RpcError, match="is not a anime") as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    served(engine, check)


def test_no_more_are_taken_up_than_one_stream_may_have(engine):
    async def check(here):
        here.gate.open.clear()
        call = here.stub.RankStream(recommend(place) for place in range(100))
        # One batch is at the gate; what else was taken up waits in the queue.
        await here.until_taken_up(1)
        here.gate.open.set()
        answers = [answer.id async for answer in call]
        assert sorted(answers) == list(range(100))

    served(engine, check)


def test_who_does_not_read_the_answers_is_not_read_from(engine, caplog):
    async def check(here):
        sent = itertools.count()
        reasons = pb.RecommendRequest(top_k=60, include_seen=True, include_adult=True, explain=True)

        async def requests():
            while True:
                yield pb.RankStreamRequest(id=next(sent), recommend=reasons)

        call = here.stub.RankStream(requests())
        await call.wait_for_connection()
        seen = -1
        while seen != len(here.gate.arrived) or seen < STREAMED:
            seen = len(here.gate.arrived)
            await asyncio.sleep(0.5)
        assert (await here.stub.Recommend(pb.RecommendRequest())).ranking
        await call.read()
        call.cancel()
        await here.until_streams_ended()
        return seen

    assert served(engine, check) < 5_000
    assert not caplog.records  # that the caller left is nobody's error


def test_a_stream_waits_where_the_queue_is_full_and_calls_still_find_places(engine):
    async def check(here):
        here.gate.open.clear()
        call = here.stub.RankStream(recommend(place) for place in range(60))
        await here.until_taken_up(1)
        calls = [here.stub.Recommend(pb.RecommendRequest(top_k=1)) for _ in range(3)]
        await asyncio.sleep(0.1)
        here.gate.open.set()
        assert all([len((await reply).ranking) == 1 for reply in calls])
        answers = [answer async for answer in call]
        assert all(answer.HasField("reply") for answer in answers)
        assert len(answers) == 60

    served(engine, check, Limits(queued=4, streamed=50))


def test_a_request_has_its_own_timeout(engine):
    async def check(here):
        here.gate.open.clear()
        short, long = Duration(nanos=50_000_000), Duration(seconds=315_576_000_000)
        requests = [recommend(1, timeout=short), recommend(2, timeout=long)]
        requests += [recommend(3), recommend(4, timeout=Duration(seconds=-1))]
        call = here.stub.RankStream(iter(requests))
        late = [await call.read(), await call.read()]
        assert {answer.id for answer in late} == {1, 4}
        assert {answer.status.code for answer in late} == {
            grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        }
        here.gate.open.set()
        answers = [await call.read(), await call.read()]
        assert {answer.id for answer in answers if answer.HasField("reply")} == {2, 3}
        assert await call.read() is grpc.aio.EOF

    served(engine, check)


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_who_leaves_or_runs_out_of_time_leaves_nothing_in_the_queue(engine, how):
    async def check(here):
        here.gate.open.clear()
        timeout = 1.0 if how == "late" else None
        call = here.stub.RankStream((recommend(n) for n in range(40)), timeout=timeout)
        await here.until_taken_up(1)
        if how == "cancelled":
            call.cancel()
        with pytest.raises((grpc.RpcError, asyncio.CancelledError)):
            await call.read()
        await here.until_streams_ended()
        at_the_gate = len(here.gate.arrived)
        here.gate.open.set()
        assert (await here.stub.Recommend(pb.RecommendRequest(top_k=1))).ranking
        assert len(here.gate.arrived) == at_the_gate + 1

    served(engine, check)


def test_at_the_end_of_the_server_what_was_taken_up_is_answered_and_no_more(engine):
    async def check(here):
        here.gate.open.clear()
        call = here.stub.RankStream()
        for place in range(STREAMED):
            await call.write(recommend(place))
        await here.until_taken_up(1)
        here.service.end()
        stopped = asyncio.create_task(here.server.stop(30))
        here.gate.open.set()
        answers = {(await call.read()).id for _ in range(STREAMED)}
        assert answers == set(range(STREAMED))
        with pytest.raises(grpc.RpcError, match="the server ends") as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await stopped

    served(engine, check)
