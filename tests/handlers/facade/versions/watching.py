"""A store that is watched while a test changes it."""

import asyncio
import time

from grpc_health.v1 import health_pb2

from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import Reloader
from handlers.facade.versions.roster import Roster
from tests.toy.bundle import publish

RESPONSE = health_pb2.HealthCheckResponse


def come(store, version="2"):
    return publish(store / "toy" / "1", store, version)


def errors_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def soon(condition, patience_s=60):
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def watch(store, steps, every_s=0.05, **settings):
    """Follow the store as a façade does, and take each step once the one before has its effect."""

    async def follow():
        loader = Loader(Settings(store=store, name="toy", **settings))
        roster, reloader = Roster(await loader.load("1", apart=False)), Reloader(loader, every_s)
        following = asyncio.create_task(reloader.follow(roster))
        for step, effect in steps:
            step()
            async with asyncio.timeout(60):
                while not effect(roster):
                    assert not following.done(), following.result()
                    await asyncio.sleep(0.05)
        following.cancel()
        await reloader.close()
        await roster.close()
        loader.close()

    asyncio.run(follow())


def serves(*names):
    return lambda roster: [version.name for version in roster.versions] == [*names]
