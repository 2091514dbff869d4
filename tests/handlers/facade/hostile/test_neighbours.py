import asyncio
import itertools
import random
from typing import Any

import grpc
import numpy as np
import pytest

from anirank.contract import ranking_pb2 as pb
from bundles.bundle import Bundle
from tests.handlers.facade.hostile.requests import (
    BAD,
    GOOD,
    HUGE,
    MIB,
    SERVICE,
    UNLIMITED,
    ask,
    peak,
    serves,
)


def told(reply: bytes) -> bytes:
    """A reply without what differs from time to time."""
    message = pb.RankReply.FromString(reply)
    for field in ("queue_time", "compute_time"):
        message.ClearField(field)
    return message.SerializeToString(deterministic=True)


async def flood(address: str, good, bad, rounds: int) -> list[list[bytes]]:
    """The answers to `good`, each `rounds` times, among as many of `bad`."""
    taken = asyncio.Semaphore(200)  # fewer than the queue holds

    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:

        async def call(method: str, body: bytes) -> bytes | None:
            async with taken:
                ask_it: Any = channel.unary_unary(f"{SERVICE}/{method}")
                asked = ask_it(body, timeout=120)
                if await asked.code() is grpc.StatusCode.OK:
                    return bytes(await asked)
                assert await asked.code() is grpc.StatusCode.INVALID_ARGUMENT, asked
                return None

        calls = [(place, *each) for place, each in enumerate(good) for _ in range(rounds)]
        others = itertools.islice(itertools.cycle(bad), len(calls))
        calls += [(-1, *each[:2]) for each in others]
        random.Random(7).shuffle(calls)
        answers = await asyncio.gather(*(call(method, body) for _, method, body in calls))
    found: list[list[bytes]] = [[] for _ in good]
    for (place, *_), answer in zip(calls, answers, strict=True):
        assert (answer is None) == (place < 0)
        if answer is not None:
            found[place].append(told(answer))
    return found


def test_a_bad_request_does_not_touch_its_neighbours(channel, facade):
    alone = [told(ask(channel, method, body)) for method, body in GOOD]
    among = asyncio.run(flood(facade.address, GOOD, BAD, rounds=60))
    for expected, answers in zip(alone, among, strict=True):
        assert set(answers) == {expected}


def of_every_kind(bundle: Bundle) -> list[tuple[str, bytes]]:
    """Requests to a model, of many sizes, with histories and without, by users and visitors."""
    chance = np.random.default_rng(3)
    ids, users = bundle.catalogue.anime_id, bundle.histories.user_id
    asked: list[tuple[str, bytes]] = []
    for place in range(24):
        watched = chance.choice(ids, chance.integers(0, 150), replace=False).tolist()
        about: dict[str, Any] = {
            "user_id": int(chance.choice(users)) if place % 3 else None,
            "history": [
                pb.HistoryItem(anime_id=each, rating=each % 10 + 1 if each % 4 else None)
                for each in watched
            ],
            "objective": place % 4,
            "explain": place % 5 == 0,
        }
        some = chance.choice(ids, chance.integers(1, len(ids)), replace=False).tolist()
        if place % 4:
            asked.append(("Rank", pb.RankRequest(candidate_ids=some, **about).SerializeToString()))
        else:
            asked.append(("Recommend", pb.RecommendRequest(**about).SerializeToString()))
    return asked


@pytest.mark.slow
def test_nor_does_it_with_a_trained_model(serving, personal_bundle, tmp_path):
    """Whose scores are sums that another order would round differently."""
    good = of_every_kind(Bundle.open(personal_bundle.folder))
    store = personal_bundle.folder.parents[1]
    with serving(tmp_path / "log", "--store", store, "--name", "anime") as facade:
        with grpc.insecure_channel(facade.address) as channel:
            alone = [told(ask(channel, method, body)) for method, body in good]
        among = asyncio.run(flood(facade.address, good, BAD, rounds=8))
    for expected, answers in zip(alone, among, strict=True):
        assert set(answers) == {expected}


@pytest.mark.slow
def test_a_flood_of_huge_requests_leaves_memory_bounded(channel, facade):
    assert serves(channel)
    before = peak(facade)
    asyncio.run(flood(facade.address, GOOD, HUGE, rounds=16))
    # About 100 of them may be on their way in at once; each is 4 MiB, and nothing is made of it
    # that outlasts its refusal.
    assert peak(facade) - before < 1_000 * MIB
    assert serves(channel)
