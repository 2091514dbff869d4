"""A TorchServe that is kept for one façade."""

import asyncio

from handlers.facade.backends.torchserve import CALL_S, TorchServeBackend
from handlers.torchserve.server import TorchServe
from handlers.torchserve.supervision import keep


class OwnTorchServe(TorchServeBackend):
    """A TorchServe that runs for this backend alone: kept running, and stopped with it."""

    def __init__(self, server: TorchServe, version: str, call_s: float = CALL_S) -> None:
        """Call `server`, which should serve `version`, and keep it; in the event loop."""
        super().__init__(
            server.grpc_address,
            server.name,
            version,
            server.key_file,
            server.management_address,
            call_s=call_s,
        )
        self._server = server
        self._keeping = asyncio.get_running_loop().create_task(keep(server))

    async def close(self) -> None:
        """Close the connection, and stop the server."""
        self._keeping.cancel()
        await super().close()
        await asyncio.to_thread(self._server.stop)
