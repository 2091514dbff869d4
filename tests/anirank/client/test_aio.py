"""The client for asyncio gives what the other one gives, in the same words."""

import asyncio
import contextlib
import itertools

import grpc
import pytest
import trustme

import anirank
from anirank.client.aio import AsyncClient
from anirank.client.requests import RankOptions, Request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import (
    BackendUnavailable,
    CredentialsError,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
    ServingError,
    Unauthenticated,
)
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Limits
from handlers.facade.backends.embedded import EmbeddedBackend

TOKEN = "a-token-of-these-tests-0123456789"
EVERYTHING: RankOptions = {
    "user_id": 10,
    "history": {3: 9.0, 6: None},
    "profile": {"gender": "Male", "days_watched": 0.5},
    "top_k": 4,
    "objective": "AFFINITY",
    "explain": True,
}


def timeless(reply):
    """A reply without the times it took."""
    kept = pb.RankReply()
    kept.CopyFrom(reply)
    kept.ClearField("queue_time")
    kept.ClearField("compute_time")
    return kept


def ask(address, check, **options):
    """What an async check of a client comes to."""

    async def run():
        async with AsyncClient(address, **options) as client:
            return await check(client)

    return asyncio.run(run())


@pytest.fixture
def address(serve):
    return serve()


def test_both_clients_are_at_hand_by_their_names():
    assert anirank.AsyncClient is AsyncClient
    assert anirank.Client is Client


def test_answers_are_those_of_the_other_client(address):
    async def check(client):
        return (
            await client.rank([30, 9, 4, 9, 12], **EVERYTHING),
            await client.rank([3]),
            await client.recommend(include_seen=True, include_adult=True, **EVERYTHING),
            await client.recommend(),
            await client.answer(pb.RankRequest(candidate_ids=[3, 6], model_version="1")),
            await client.model_info(),
        )

    *answers, info = ask(address, check)
    with Client(address) as client:
        expected = (
            client.rank([30, 9, 4, 9, 12], **EVERYTHING),
            client.rank([3]),
            client.recommend(include_seen=True, include_adult=True, **EVERYTHING),
            client.recommend(),
            client.answer(pb.RankRequest(candidate_ids=[3, 6], model_version="1")),
        )
        assert info == client.model_info()
    assert [timeless(each) for each in answers] == [timeless(each) for each in expected]
    assert len(answers[0].ranking) == 3
    assert list(answers[0].unknown_candidates) == [4]
    assert answers[0].ranking[0].HasField("rest")


def test_many_calls_of_one_client_are_answered_each_with_its_own(address, world):
    users = range(0, 400, 5)

    async def check(client):
        return await asyncio.gather(*(client.recommend(user_id=user) for user in users))

    with Client(address) as client:
        for user, reply in zip(users, ask(address, check), strict=True):
            assert timeless(reply) == timeless(client.recommend(user_id=user))


REQUESTS: list[Request] = [
    pb.RankRequest(candidate_ids=[3, 6]),
    pb.RankRequest(),
    pb.RecommendRequest(model_version="none"),
    pb.RecommendRequest(user_id=20, top_k=2),
]


async def later(requests):
    for request in requests:
        await asyncio.sleep(0.001)
        yield request


@pytest.mark.parametrize("wrapped", [list, iter, later], ids=["list", "iterator", "asynchronous"])
def test_a_stream_takes_any_requests_and_gives_what_the_other_client_gives(address, wrapped):
    async def check(client):
        return {place: outcome async for place, outcome in client.stream(wrapped(REQUESTS))}

    found = ask(address, check)
    with Client(address) as client:
        expected = dict(client.stream(REQUESTS))
    assert found.keys() == expected.keys() == {0, 1, 2, 3}
    for place in (0, 3):
        assert timeless(found[place]) == timeless(expected[place])
    for place in (1, 2):
        assert isinstance(found[place], InvalidQuery)
        assert str(found[place]) == str(expected[place])
    assert (found[1].field, found[2].field) == ("candidate_ids", "model_version")


@pytest.mark.parametrize("wrapped", [iter, later], ids=["iterator", "asynchronous"])
def test_a_stream_reads_no_further_than_the_server_takes_up(gated, wrapped):
    async def check(here):
        read = itertools.count()
        sent = (pb.RecommendRequest(top_k=next(read) % 5 + 1) for _ in range(2_000))
        async with AsyncClient(here.address) as client:
            answers = client.stream(wrapped(sent))
            first = asyncio.ensure_future(anext(answers))
            await here.until_at_the_gate()
            here.gate.open.set()
            _, outcome = await first
            assert isinstance(outcome, pb.RankReply)
            await answers.aclose()
        await here.until_streams_ended()

    gated(check, Limits(streamed=8))


def test_a_stream_that_is_left_early_is_cancelled(gated):
    async def check(here):
        here.gate.open.set()
        async with AsyncClient(here.address) as client:
            endless = (pb.RecommendRequest() for _ in itertools.count())
            async with contextlib.aclosing(client.stream(endless)) as answers:
                async for _ in answers:
                    break
        await here.until_streams_ended()

    gated(check, Limits(streamed=8))


def broken():
    yield pb.RankRequest(candidate_ids=[3])
    raise ValueError("no more")


@pytest.mark.parametrize("wrapped", [iter, later], ids=["iterator", "asynchronous"])
def test_a_fault_of_the_requests_is_raised_once_those_before_have_their_answers(address, wrapped):
    async def check(client):
        async for place, outcome in client.stream(wrapped(broken())):
            found[place] = len(outcome.ranking)

    found: dict[int, int] = {}
    with pytest.raises(ValueError, match="no more"):
        ask(address, check)
    assert found == {0: 1}
    with Client(address) as client:
        answers = client.stream(broken())
        assert next(answers)[0] == 0
        with pytest.raises(ValueError, match="no more"):
            next(answers)


def test_a_bad_request_is_named_by_its_field(address):
    async def check(client):
        await client.rank([3], history={3: 11})

    with pytest.raises(InvalidQuery) as caught:
        ask(address, check)
    assert caught.value.field == "history[0].rating"
    assert "11.0 is outside 1..10" in caught.value.reason


def test_an_overloaded_server_says_when_to_come_back(serve, toy, held):
    limits = Limits(queued=1)
    address = serve(
        backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held))), limits=limits
    )

    async def check(client):
        calls = [asyncio.ensure_future(client.rank([3])) for _ in range(6)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        held.free.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = ask(address, check, retries=0)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert any(isinstance(outcome, pb.RankReply) for outcome in outcomes)
    assert len(refused) in range(1, len(outcomes))
    assert all("wait already" in str(each) and each.retry_after_s > 0 for each in refused)


def test_who_does_not_wait_for_the_answer_hears_that_the_deadline_passed(serve, toy, held):
    address = serve(backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held))))

    async def check(client):
        with pytest.raises(DeadlinePassed):
            await client.rank([3])
        [(place, outcome)] = [each async for each in client.stream([REQUESTS[0]])]
        assert place == 0
        assert isinstance(outcome, DeadlinePassed)
        held.free.set()

    ask(address, check, timeout_s=0.3)


def test_where_nobody_answers_is_unavailable():
    async def check(client):
        with pytest.raises(BackendUnavailable):
            await client.recommend()
        with pytest.raises(BackendUnavailable):
            async for _ in client.stream(REQUESTS):
                pass

    ask("127.0.0.1:1", check)


def test_a_status_of_no_error_of_ours_keeps_its_code(serve):
    async def check(client):
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
            await client.rank(range(2**60, 2**60 + 5_000))

    ask(serve(limits=Limits(candidates=10, history=0, filter_ids=10)), check)


@pytest.fixture(scope="module")
def secured(serving, tmp_path_factory):
    """A façade with mutual TLS and a token, and what a caller whom it lets in gives."""
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("localhost", "caller"):
        issued = authority.issue_cert(name, "127.0.0.1")
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{TOKEN}\n")
    options: tuple[object, ...] = (
        "--tls-cert",
        folder / "localhost.pem",
        "--tls-key",
        folder / "localhost.key",
    )
    options += ("--tls-client-ca", folder / "ca.pem", "--tokens", tokens)
    with serving(folder / "stderr", *options) as facade:
        shown = {"certificate": folder / "caller.pem", "key": folder / "caller.key"}
        yield facade.address, {"ca": folder / "ca.pem", **shown}


def test_who_shows_a_certificate_and_a_token_is_answered(secured):
    address, shown = secured

    async def check(client):
        assert len((await client.rank([3, 6])).ranking) == 2
        assert (await client.model_info()).name == "toy"
        [(_, reply)] = [each async for each in client.stream(REQUESTS[:1])]
        assert len(reply.ranking) == 2

    ask(address, check, **shown, token=TOKEN)


def test_who_shows_no_token_or_no_certificate_is_not_let_in(secured):
    address, shown = secured

    async def refused(client):
        with pytest.raises(Unauthenticated):
            await client.model_info()
        with pytest.raises(Unauthenticated):
            async for _ in client.stream(REQUESTS):
                pass

    async def unreachable(client):
        with pytest.raises(BackendUnavailable):
            await client.model_info()

    ask(address, refused, **shown)
    ask(address, refused, **shown, token=TOKEN + "x")
    ask(address, unreachable, ca=shown["ca"], token=TOKEN)
    ask(address, unreachable, token=TOKEN)


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_nothing_secret_leaves_unencrypted_and_no_bad_file_gets_to_grpc(kind, secured, tmp_path):
    _, shown = secured
    for given, message in (
        ({"token": "x y"}, "the token: not a token"),
        ({"certificate": shown["certificate"]}, "without an authority"),
        (shown | {"key": None}, "go together"),
        (shown | {"ca": tmp_path / "absent"}, "absent: cannot be read"),
    ):
        with pytest.raises(CredentialsError, match=message):
            kind("127.0.0.1:1", **given)
    with pytest.raises(CredentialsError, match="unencrypted"):
        kind("192.0.2.7:50051", token=TOKEN)


def test_calls_that_are_on_their_way_when_the_client_closes_are_cancelled(serve, toy, held):
    address = serve(backend=lambda: EmbeddedBackend(Engine(toy, GraphScorer(toy, held))))

    async def run():
        client = AsyncClient(address)
        call = asyncio.ensure_future(client.rank([3]))
        await asyncio.to_thread(held.arrived.wait, 60)
        await client.close()
        with pytest.raises((ServingError, asyncio.CancelledError, grpc.aio.UsageError)):
            await call
        held.free.set()

    asyncio.run(run())
