"""Health checks (grpc.health.v1): whether requests would be answered now."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from handlers.facade.telemetry.observer import SERVICE, Observer
from handlers.facade.versions.roster import Roster

READY_INTERVAL_S = 1.0  # between two looks at whether the backends are ready


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # grpc_health ships no types
    """Health checks that say what the backend says, and do not hold up the end."""

    def __init__(self, observer: Observer) -> None:
        """Tell `observer` what is seen at every look."""
        super().__init__()
        self._observer = observer
        self._watches: set[asyncio.Task[Any]] = set()
        self._ending = False

    async def Watch(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
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

    async def look(self, roster: Roster) -> None:
        """Say SERVING where the versions served are ready, else NOT_SERVING."""
        response = health_pb2.HealthCheckResponse
        ready = await roster.ready()
        self._observer.look(roster, ready)
        status = response.SERVING if ready else response.NOT_SERVING
        for service in ("", SERVICE):
            await self.set(service, status)

    async def follow(self, roster: Roster, signalled: asyncio.Event) -> None:
        """Look again and again until the event is set, then say NOT_SERVING for good.

        Ends the streams as well, which would outlast the server's grace.
        """
        while not signalled.is_set():
            try:
                await asyncio.wait_for(signalled.wait(), READY_INTERVAL_S)
            except TimeoutError:
                await self.look(roster)
        self._observer.look(roster, False)
        await self.enter_graceful_shutdown()
        await asyncio.sleep(0)  # the streams write the change before they end
        self._ending = True
        for task in self._watches:
            task.cancel()
