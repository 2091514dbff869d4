import asyncio

import numpy as np
import pytest

from handlers import batching
from handlers.backends import EmbeddedBackend
from handlers.batching import Batcher
from handlers.errors import BackendUnavailable, DeadlinePassed, InvalidQuery, Overloaded
from handlers.query import Limits, Query


class Gate:
    """A real backend behind a gate that the test opens; notes the batches that pass."""

    name = "gate"

    def __init__(self, engine):
        self.backend, self.open, self.batches = EmbeddedBackend(engine), asyncio.Event(), []

    async def rank(self, queries):
        self.batches.append(queries)
        await self.open.wait()
        return await self.backend.rank(queries)

    async def ready(self):
        return self.open.is_set()

    async def close(self):
        await self.backend.close()


def waiting_at(engine, limits=None):
    """A gate, a batcher before it, and a function that asks and lets the loop take it up."""
    gate = Gate(engine)
    batcher = Batcher(gate, len(engine.bundle.catalogue), limits or Limits())

    async def ask(query=None, timeout_s=None):
        task = asyncio.create_task(batcher.rank(query or Query(top_k=3), timeout_s))
        await asyncio.sleep(0.01)
        return task

    return gate, ask


def of(candidates):
    return Query(candidate_ids=np.ones(candidates, np.int64))


def test_a_free_backend_gets_a_query_at_once_and_what_arrives_meanwhile_goes_together(engine):
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


def test_everyone_gets_the_answer_to_what_they_asked(engine, world):
    async def check():
        gate, ask = waiting_at(engine)
        queries = [Query(user_id=user) for user in range(0, 400, 7)]
        tasks = [await ask(query) for query in queries]
        gate.open.set()
        for query, answer in zip(queries, await asyncio.gather(*tasks), strict=True):
            assert answer.result.anime_ids.tolist() == world.rank(query).anime_ids.tolist()
        await gate.close()

    asyncio.run(check())


def test_a_bad_query_is_answered_in_its_place(engine):
    async def check():
        gate, ask = waiting_at(engine)
        tasks = [await ask(), await ask(Query(top_k=0)), await ask()]
        gate.open.set()
        good, bad, other = await asyncio.gather(*tasks)
        assert isinstance(bad.result, InvalidQuery)
        assert good.result.anime_ids.tolist() == other.result.anime_ids.tolist()
        await gate.close()

    asyncio.run(check())


def test_a_batch_is_bounded_in_candidates_and_in_queries(engine):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=1_000))
        half = batching.LARGEST_BATCH // 2
        tasks = [await ask(of(size)) for size in (1, half, half, 1, 2 * half + 1, 1)]
        many = [asyncio.ensure_future(ask(of(1))) for _ in range(2 * batching.MOST_QUERIES)]
        tasks += await asyncio.gather(*many)
        gate.open.set()
        await asyncio.gather(*tasks)
        sizes = [[len(query.candidate_ids) for query in batch] for batch in gate.batches]
        assert sizes[:4] == [[1], [half, half], [1], [2 * half + 1]]
        assert [len(batch) for batch in sizes[4:]] == [256, 256, 1]
        await gate.close()

    asyncio.run(check())


def test_a_query_over_the_whole_catalogue_weighs_as_much(engine):
    async def check():
        gate, ask = waiting_at(engine, Limits(queued=3_000))
        fit = batching.LARGEST_BATCH // len(engine.bundle.catalogue)
        assert fit > batching.MOST_QUERIES  # so weigh it down with one that has many candidates
        heavy = of(batching.LARGEST_BATCH - 2 * len(engine.bundle.catalogue))
        tasks = [await ask(query) for query in (None, heavy, None, None, None)]
        gate.open.set()
        await asyncio.gather(*tasks)
        assert [len(batch) for batch in gate.batches] == [1, 3, 1]
        await gate.close()

    asyncio.run(check())


def test_a_full_queue_refuses_the_next_and_says_when_to_come_back(engine):
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


def test_who_left_or_ran_out_of_time_is_not_computed_and_frees_the_place(engine):
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


def test_a_backend_that_fails_fails_its_batch_and_serves_the_next(engine):
    class Broken:
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
        assert len(first.result.anime_ids) == 3
        assert all(isinstance(error, BackendUnavailable) for error in failed)
        assert "out of memory" in str(failed[0])
        assert len((await (await ask())).result.anime_ids) == 3
        await gate.close()

    asyncio.run(check())
