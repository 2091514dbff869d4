import asyncio
import contextlib

from handlers.facade.calls.pace import Pace


async def rounds_until(task):
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1
    return rounds


def test_the_first_waits_for_nothing_and_the_next_for_so_many_rounds():
    async def check():
        pace = Pace(5)
        await pace.turn("a")
        assert len(pace) == 0
        assert 5 <= await rounds_until(asyncio.create_task(pace.turn("a"))) <= 8
        for _ in range(20):
            await asyncio.sleep(0)
        assert await rounds_until(asyncio.create_task(pace.turn("a"))) == 1

    asyncio.run(check())


def test_callers_take_turns_and_who_leaves_keeps_nobody_waiting():
    async def check():
        pace, begun = Pace(2), []

        async def work(caller, name):
            await pace.turn(caller)
            begun.append(name)

        named = [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]
        tasks = [asyncio.create_task(work(*each)) for each in named]
        await asyncio.sleep(0)
        tasks[2].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[2]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert begun == ["a1", "a2", "b1", "c1", "b2"]
        assert len(pace) == 0

    asyncio.run(check())
