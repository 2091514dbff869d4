import asyncio

import numpy as np
import pytest

from anirank.errors import BackendUnavailable, DeadlinePassed, InvalidQuery, Overloaded
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.loading import engine_of
from handlers.engine.query import Limits, Query, Ranking
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.batching.batcher import Batcher
from handlers.facade.batching.queue import MOST_QUERIES


@pytest.fixture
def waiting_at(gate):
    """Makes a gate, a batcher before it, and a function that asks and lets the loop take it up."""

    def make(engine, limits=None, **of_the_gate):
        here = gate(engine, **of_the_gate)
        batcher = Batcher(here, len(engine.bundle.catalogue), limits or Limits())

        async def ask(query=None, timeout_s=None, patient=False):
            task = asyncio.create_task(batcher.rank(query or Query(top_k=3), timeout_s, patient))
            await asyncio.sleep(0.005)
            return task

        return here, ask

    return make


def of(candidates):
    return Query(candidate_ids=np.ones(candidates, np.int64))


def sizes(gate):
    return [[len(query.candidate_ids) for query in batch] for batch in gate.batches]


def test_a_free_backend_gets_a_query_at_once_and_what_arrives_meanwhile_goes_together(
    engine, waiting_at
):
    async def check():
        gate, ask = waiting_at(engine)
        tasks = [await ask() for _ in range(5)]
        assert [len(batch) for batch in gate.batches] == [1]
        gate.open.set()
        answers = await asyncio.gather(*tasks)
        assert [len(batch) for batch in gate.batches] == [1, 4]
        assert all(len(answer.result.anime_ids) == 3 for answer in answers)
        assert answers[0].queue_s < 0.01 < answers[1].queue_s
        await gate.close()

    asyncio.run(check())


def test_everyone_gets_the_answer_to_what_they_asked(engine, waiting_at, world):
    async def check():
        gate, ask = waiting_at(engine)
        queries = [Query(user_id=user) for user in range(0, 400, 7)]
        tasks = [await ask(query) for query in queries]
        gate.open.set()
        for query, answer in zip(queries, await asyncio.gather(*tasks), strict=True):
            assert answer.result.anime_ids.tolist() == world.rank(query).anime_ids.tolist()
        await gate.close()

    asyncio.run(check())


def test_a_bad_query_is_answered_in_its_place(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine)
        tasks = [await ask(), await ask(Query(top_k=0)), await ask()]
        gate.open.set()
        good, bad, other = await asyncio.gather(*tasks)
        assert isinstance(bad.result, InvalidQuery)
        assert good.result.anime_ids.tolist() == other.result.anime_ids.tolist()
        await gate.close()

    asyncio.run(check())


def test_a_batch_is_bounded_in_candidates_and_in_queries(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=1_000))
        fifth = gate.largest_batch // 5
        tasks = [await ask(of(size)) for size in (1, fifth, 4 * fifth // 5, *[fifth] * 6, 1)]
        many = [asyncio.ensure_future(ask(of(1))) for _ in range(2 * MOST_QUERIES)]
        tasks += await asyncio.gather(*many)
        gate.open.set()
        await asyncio.gather(*tasks)
        assert sizes(gate)[0] == [1]
        assert all(sum(batch) <= gate.largest_batch for batch in sizes(gate))
        assert [len(batch) for batch in sizes(gate)[1:]] == [5, 256, 256, 4]
        await gate.close()

    asyncio.run(check())


def test_a_query_over_the_whole_catalogue_weighs_as_much(engine, waiting_at):
    async def check():
        size = len(engine.bundle.catalogue)
        gate, ask = waiting_at(engine, largest_batch=5 * size)
        tasks = [await ask(query) for query in (None, of(1), *[None] * 5)]
        gate.open.set()
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in gate.batches] == [1, 5, 1]
        await gate.close()

    asyncio.run(check())


def test_batches_of_large_and_of_small_queries_alternate(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, largest_batch=400)
        asked = [1, *[101] * 8, 500, *[100] * 12]
        tasks = [await ask(of(size)) for size in asked]
        gate.open.set()
        await asyncio.gather(*tasks)
        small, large, largest = [100] * 4, [101] * 3, [500]
        assert sizes(gate) == [[1], large, small, large, small, [101] * 2, small, largest]
        await gate.close()

    asyncio.run(check())


@pytest.mark.parametrize(("size", "flood"), [(1, 1_000), (1_000, 1)])
def test_however_many_of_the_other_size_keep_coming_a_query_waits_for_two_batches(
    engine, waiting_at, size, flood
):
    async def check():
        gate, ask = waiting_at(engine, largest_batch=1_000)
        first = await ask(of(flood))
        before = [await ask(of(flood)) for _ in range(3)]
        task = await ask(of(size))
        gate.open.set()
        while not task.done():
            before.append(await ask(of(flood)))
        ahead = sizes(gate).index([size])
        assert ahead <= 2
        await asyncio.gather(first, *before)
        await gate.close()

    asyncio.run(check())


def test_large_queries_leave_half_of_the_places_to_small_ones(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=8), largest_batch=100)
        tasks = [await ask(of(101)) for _ in range(5)]
        refused = await ask(of(101))
        tasks += [await ask(of(1)) for _ in range(4)]
        refused_too = await ask(of(1))
        gate.open.set()
        for late in (refused, refused_too):
            with pytest.raises(Overloaded):
                await late
        await asyncio.gather(*tasks)
        await gate.close()

    asyncio.run(check())


def test_patient_queries_wait_for_a_place_and_take_no_more_than_a_quarter(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=8))
        first = await ask()
        patient = [await ask(patient=True) for _ in range(20)]
        hasty = [await ask() for _ in range(6)]
        with pytest.raises(Overloaded, match="8 requests wait already"):
            await (await ask())
        gate.open.set()
        await asyncio.gather(first, *patient, *hasty)
        await gate.close()

    asyncio.run(check())


def test_a_patient_query_gets_the_next_free_place_however_many_ask(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=4))
        tasks = [await ask() for _ in range(5)]
        patient = await ask(patient=True)
        tasks.pop().cancel()
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await (await ask())
        gate.open.set()
        await asyncio.gather(patient, *tasks)
        await gate.close()

    asyncio.run(check())


def test_who_leaves_is_out_of_the_queue_at_once(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=3))
        first = await ask()
        tasks = [await ask(patient=patient) for patient in (False, True, False, True)]
        for _ in range(50):
            tasks.pop(0).cancel()
            tasks.append(await ask(patient=not len(tasks) % 2))
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        full = [await ask() for _ in range(3)]
        gate.open.set()
        await asyncio.gather(first, *full)
        assert [len(batch) for batch in gate.batches] == [1, 3]
        await gate.close()

    asyncio.run(check())


def test_the_backend_is_told_the_longest_time_that_anyone_of_the_batch_has(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine)
        tasks = [await ask(timeout_s=9)]
        tasks += [await ask(timeout_s=seconds) for seconds in (5, 60, 20)]
        gate.open.set()
        await asyncio.gather(*tasks)
        tasks = [await ask(timeout_s=seconds) for seconds in (None,)]
        await asyncio.gather(*tasks)
        assert 8 < gate.timeouts[0] <= 9
        assert 50 < gate.timeouts[1] <= 60
        assert gate.timeouts[2] is None
        await gate.close()

    asyncio.run(check())


def test_as_many_batches_are_at_the_backend_as_it_takes_and_no_more(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, in_flight=3)
        tasks = [await ask() for _ in range(7)]
        assert [len(batch) for batch in gate.batches] == [1, 1, 1]
        gate.open.set()
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in gate.batches] == [1, 1, 1, 4]
        await gate.close()

    asyncio.run(check())


def test_a_full_queue_refuses_the_next_and_says_when_to_come_back(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=2))
        tasks = [await ask() for _ in range(4)]
        gate.open.set()
        with pytest.raises(Overloaded, match="2 requests wait already") as refused:
            await tasks[3]
        assert refused.value.retry_after_s > 0
        await asyncio.gather(*tasks[:3])
        await gate.close()

    asyncio.run(check())


def test_who_left_or_ran_out_of_time_is_not_computed_and_frees_the_place(engine, waiting_at):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=2))
        first, gone, late = await ask(), await ask(), await ask(timeout_s=0.001)
        gone.cancel()
        await asyncio.sleep(0.01)
        last = await ask()
        gate.open.set()
        await asyncio.gather(first, last)
        assert sum(map(len, gate.batches)) == 2
        with pytest.raises(DeadlinePassed):
            await late
        await gate.close()

    asyncio.run(check())


def test_a_quick_query_is_answered_without_a_batch_unless_its_time_is_over(personal_bundle):
    bundle = Bundle.open(personal_bundle.folder)
    engine = engine_of(bundle, "compiled")
    query = Query(candidate_ids=bundle.catalogue.anime_id[:20], top_k=3)
    assert engine.is_quick(query)

    async def check():
        backend = EmbeddedBackend(engine)
        batcher = Batcher(backend, len(bundle.catalogue), Limits())
        answer = await batcher.rank(query)
        [expected] = engine.rank([query])
        assert isinstance(answer.result, Ranking)
        assert isinstance(expected, Ranking)
        assert answer.result.scores.tobytes() == expected.scores.tobytes()
        assert answer.queue_s == 0
        with pytest.raises(DeadlinePassed):
            await batcher.rank(query, timeout_s=0)
        await backend.close()

    asyncio.run(check())


def test_a_backend_that_fails_fails_its_batch_and_serves_the_next(engine, waiting_at):
    class Broken(Engine):
        name = engine.name

        def __init__(self):
            """Without a graph: it fails before that."""

        def rank(self, queries):
            if len(queries) > 1:
                raise RuntimeError("out of memory")
            return engine.rank(queries)

    async def check():
        gate, ask = waiting_at(engine)
        gate.backend = EmbeddedBackend(Broken())
        tasks = [await ask() for _ in range(3)]
        gate.open.set()
        first, *failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert not isinstance(first, BaseException)
        assert len(first.result.anime_ids) == 3
        assert all(isinstance(error, BackendUnavailable) for error in failed)
        assert "out of memory" in str(failed[0])
        assert len((await (await ask())).result.anime_ids) == 3
        await gate.close()

    asyncio.run(check())
