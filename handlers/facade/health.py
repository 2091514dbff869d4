"""Health checks (grpc.health.v1): whether requests would be answered now."""

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2

from handlers.facade.status import Context
from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.versions.roster import Roster
from handlers.histories.histories import Histories

# Of which health is told: "" stands for the whole server, STORE for whether new versions are seen,
# HISTORIES, where they are kept, for whether what is in them is.
STORE = "anirank.store"
HISTORIES = "anirank.histories"
CHECK_S = 1.0  # between two checks whether the backends are ready
_MESSAGES: Any = health_pb2  # types-grpcio-health-checking does not know those of List


class Health(health.aio.HealthServicer):
    """Health checks that say what the backend says, and do not hold up the end."""

    def __init__(self, observer: Observer, histories: Histories | None = None) -> None:
        """Hand what is found at every check to `observer`."""
        super().__init__()
        self._histories = histories
        kept = () if histories is None else (HISTORIES,)
        self._services = ("", SERVICE, STORE, *kept)
        self._observer = observer
        self._watches: set[asyncio.Task[Any]] = set()
        self._ending = False
        self.serving = False  # what was last said of the whole server

    async def Watch(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> None:
        """Stream the health of a service until the caller leaves or the server ends."""
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            await super().Watch(request, context)
        except asyncio.CancelledError:
            if not self._ending:
                raise
            # Returned from, the stream closes; left by the exception, gRPC would keep it open.
        finally:
            self._watches.discard(task)

    async def List(self, request: Any, context: Context) -> Any:  # noqa: N802 - the proto's name
        """The health of each service, which the class that this extends does not answer."""
        asked = {name: health_pb2.HealthCheckRequest(service=name) for name in self._services}
        return _MESSAGES.HealthListResponse(
            statuses={name: await self.Check(each, context) for name, each in asked.items()}
        )

    async def check(self, roster: Roster) -> None:
        """Say SERVING where the versions served are ready, and of `STORE` where it is followed."""
        response = health_pb2.HealthCheckResponse
        ready = self.serving = await roster.ready()
        self._observe(roster, ready)
        kept = self._histories is not None and self._histories.well
        of = {STORE: roster.followed, HISTORIES: kept}
        for service in self._services:
            well = of.get(service, ready)
            await self.set(service, response.SERVING if well else response.NOT_SERVING)

    async def follow(self, roster: Roster, ending: asyncio.Event) -> None:
        """Check again and again until the event is set, then say NOT_SERVING for good.

        Ends the streams as well, which would outlast the server's grace.
        """
        while not ending.is_set():
            try:
                await asyncio.wait_for(ending.wait(), CHECK_S)
            except TimeoutError:
                await self.check(roster)
        self.serving = False
        self._observe(roster, ready=False)
        await self.enter_graceful_shutdown()
        await asyncio.sleep(0)  # the streams write the change before they end
        self._ending = True
        for task in self._watches:
            task.cancel()

    def _observe(self, roster: Roster, ready: bool) -> None:
        self._observer.state(ready, roster.queued, roster.describe("").name, roster.shares)
        self._observer.follows(roster.followed)
