import asyncio
import itertools
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from anirank.client.requests import Request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.query import Limits, Query

STREAMED = 8


def recommend(place, user=None, **more):
    request = pb.RecommendRequest(user_id=user, top_k=3)
    return pb.RankStreamRequest(id=place, recommend=request, **more)


def ids(reply):
    return [entry.anime_id for entry in reply.ranking]


@pytest.mark.slow
def test_thousands_are_answered_each_with_their_own(gated, world):
    users = [user % 410 for user in range(3_000)]

    def ask(address):
        with Client(address) as client:
            requests = (pb.RecommendRequest(user_id=user, top_k=3) for user in users)
            return dict(client.stream(requests))

    async def check(here):
        here.gate.open.set()
        return await asyncio.to_thread(ask, here.address)

    answers = gated(check, Limits(streamed=STREAMED))
    assert sorted(answers) == list(range(3_000))
    expected = {
        user: world.rank(Query(user_id=user, top_k=3)).anime_ids.tolist() for user in set(users)
    }
    assert all(ids(answers[place]) == expected[user] for place, user in enumerate(users))


def test_a_request_that_cannot_be_answered_fails_in_its_place_and_the_stream_goes_on(gated):
    requests: list[Request] = [
        pb.RankRequest(candidate_ids=[3, 6]),
        pb.RankRequest(),
        pb.RecommendRequest(model_version="none"),
        pb.RecommendRequest(top_k=2),
    ]

    def ask(address):
        with Client(address) as client:
            return dict(client.stream(requests))

    async def check(here):
        here.gate.open.set()
        return await asyncio.to_thread(ask, here.address)

    answers = gated(check, Limits(streamed=STREAMED))
    assert len(answers[0].ranking) == len(answers[3].ranking) == 2
    assert isinstance(answers[1], InvalidQuery)
    assert (answers[1].field, answers[2].field) == ("candidate_ids", "model_version")


def test_a_stream_fails_as_the_call_of_its_own_would_have(gated):
    unknown: Any = 9
    bad = pb.RankRequest(candidate_ids=[3], objective=unknown)

    async def check(here):
        here.gate.open.set()
        call = here.stub.RankStream(iter([pb.RankStreamRequest(id=7, rank=bad)]))
        [answer] = [answer async for answer in call]
        with pytest.raises(grpc.RpcError) as caught:
            await here.stub.Rank(bad)
        trailing: Any = caught.value.trailing_metadata()
        [detail] = [value for key, value in trailing if "details" in key]
        assert answer.id == 7
        assert answer.status.SerializeToString() == detail

    gated(check, Limits(streamed=STREAMED))


def test_a_request_of_neither_kind_is_named(gated):
    async def check(here):
        here.gate.open.set()
        call = here.stub.RankStream(iter([pb.RankStreamRequest(id=1)]))
        [answer] = [answer async for answer in call]
        assert answer.status.message.startswith("request: none given, should be one of rank")

    gated(check, Limits(streamed=STREAMED))


def test_bytes_that_are_no_request_end_the_stream_after_what_was_taken_up(gated):
    async def check(here):
        here.gate.open.set()
        method = f"/{pb.DESCRIPTOR.package}.RankingService/RankStream"
        call = here.channel.stream_stream(method)(iter([recommend(1).SerializeToString(), b"\xff"]))
        answer = pb.RankStreamReply.FromString(await call.read())
        assert answer.HasField("reply")
        with pytest.raises(grpc.RpcError, match="is not a anime") as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    gated(check, Limits(streamed=STREAMED))


def test_no_more_are_taken_up_than_one_stream_may_have(gated):
    async def check(here):
        call = here.stub.RankStream(recommend(place) for place in range(100))
        await here.until_at_the_gate()
        taken_up = ["Stream._take_up" in repr(task) for task in asyncio.all_tasks()]
        here.gate.open.set()
        assert sum(taken_up) == STREAMED
        answers = [answer.id async for answer in call]
        assert sorted(answers) == list(range(100))

    gated(check, Limits(streamed=STREAMED))


@pytest.mark.slow
def test_who_does_not_read_the_answers_is_not_read_from(gated, caplog):
    async def check(here):
        here.gate.open.set()
        sent = itertools.count()
        reasons = pb.RecommendRequest(top_k=60, include_seen=True, include_adult=True, explain=True)

        async def requests():
            while True:
                yield pb.RankStreamRequest(id=next(sent), recommend=reasons)

        call = here.stub.RankStream(requests())
        await call.wait_for_connection()
        seen = -1
        while seen != here.arrived or seen < STREAMED:
            seen = here.arrived
            await asyncio.sleep(0.5)
        assert (await here.stub.Recommend(pb.RecommendRequest())).ranking
        await call.read()
        call.cancel()
        await here.until_streams_ended()
        return seen

    assert gated(check, Limits(streamed=STREAMED)) < 5_000
    assert not caplog.records  # that the caller left is nobody's error


def test_a_stream_waits_where_the_queue_is_full_and_calls_still_find_places(gated):
    async def check(here):
        call = here.stub.RankStream(recommend(place) for place in range(60))
        await here.until_at_the_gate()
        calls = [here.stub.Recommend(pb.RecommendRequest(top_k=1)) for _ in range(3)]
        await asyncio.sleep(0.1)
        here.gate.open.set()
        assert all([len((await reply).ranking) == 1 for reply in calls])
        answers = [answer async for answer in call]
        assert all(answer.HasField("reply") for answer in answers)
        assert len(answers) == 60

    gated(check, Limits(queued=4, streamed=50))


def test_a_request_has_its_own_timeout(gated):
    async def check(here):
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

    gated(check, Limits(streamed=STREAMED))


async def read_to_the_end(call):
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_who_leaves_or_runs_out_of_time_leaves_nothing_in_the_queue(gated, how):
    async def check(here):
        timeout = 1.0 if how == "late" else None
        call = here.stub.RankStream((recommend(n) for n in range(40)), timeout=timeout)
        await here.until_at_the_gate()
        if how == "cancelled":
            call.cancel()
        with pytest.raises((grpc.RpcError, asyncio.CancelledError)):
            await read_to_the_end(call)  # some may hear that they are late before the whole is
        await here.until_streams_ended()
        at_the_gate = here.arrived
        here.gate.open.set()
        assert (await here.stub.Recommend(pb.RecommendRequest(top_k=1))).ranking
        assert here.arrived == at_the_gate + 1

    gated(check, Limits(streamed=STREAMED))


def test_at_the_end_of_the_server_what_was_taken_up_is_answered_and_no_more(gated):
    async def check(here):
        call = here.stub.RankStream()
        for place in range(STREAMED):
            await call.write(recommend(place))
        await here.until_at_the_gate()
        here.service.end()
        stopped = asyncio.create_task(here.server.stop(30))
        here.gate.open.set()
        answers = {(await call.read()).id for _ in range(STREAMED)}
        assert answers == set(range(STREAMED))
        with pytest.raises(grpc.RpcError, match="the server ends") as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await stopped

    gated(check, Limits(streamed=STREAMED))


def test_a_client_that_stops_listening_ends_its_stream(gated):
    def ask(address):
        with Client(address) as client:
            answers = client.stream(pb.RecommendRequest() for _ in itertools.count())
            next(answers)
            answers.close()

    async def check(here):
        here.gate.open.set()
        await asyncio.to_thread(ask, here.address)
        await here.until_streams_ended()

    gated(check, Limits(streamed=STREAMED))
